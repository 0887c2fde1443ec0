"""The Ray engine on a cluster of a head and two nodes on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vtclip.sweep.engines import Outcome, Resources, Task
from vtclip.sweep.ray_engine import RayEngine

from ..conftest import ROOT
from .conftest import SmallDisk, start_cluster
from .place import DIGITS, Place
from .test_local import is_alive

pytest.importorskip("ray.cluster_utils", reason="the package ray is not installed")


def task(what: str, place: Path) -> Task:
    return Task(what, "fakes", "run", ((what, str(place)),))


def pids_of(path: Path, count: int) -> list[int]:
    """Return the processes of the first runs, as soon as they have begun."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return [int(line.split()[-1]) for line in lines]
        time.sleep(0.1)
    raise AssertionError("the runs did not begin")


@pytest.mark.faults
def test_a_node_that_goes_takes_no_run_with_it(cluster: Any, tmp_path: Path) -> None:
    import ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    resources = Resources(timeout=240.0, retries=2)
    engine = RayEngine(ray, resources, ROOT / "tests" / "sweep", command="fake_train")
    assert engine.capacity() == 2
    names = ("stay-1", "stay-2", "die-once", "refuse", "break", "die", "good")
    tasks = [task(name, tmp_path) for name in names]
    outcomes: dict[str, Outcome] = {}
    events = filter(None, engine.carry_out(tasks, lambda _: False))
    started = 0
    for event in events:
        if event.outcome is not None:
            outcomes[event.task.name] = event.outcome
            continue
        started += 1
        if started == 2:
            # both nodes are at work
            pids = pids_of(tmp_path / "started.txt", 2)
            cluster.remove_node(cluster.workers[1], allow_graceful=False)
            deadline = time.monotonic() + 60
            while all(map(is_alive, pids)) and time.monotonic() < deadline:
                time.sleep(0.1)
            (tmp_path / "released.txt").touch()
    ray.shutdown()
    states = {name: outcome.state for name, outcome in outcomes.items()}
    assert states == {
        "stay-1": "done",
        "stay-2": "done",
        "die-once": "done",
        "refuse": "failed",
        "break": "failed",
        "die": "died",
        "good": "done",
    }
    attempts = {name: outcome.attempts for name, outcome in outcomes.items()}
    assert attempts["stay-1"] + attempts["stay-2"] == 3
    assert (attempts["die-once"], attempts["die"], attempts["good"]) == (2, 3, 1)
    assert outcomes["refuse"].lines[-1] == "error: DATASET.ROOT: nothing there."
    assert "ZeroDivisionError: a bug" in outcomes["break"].lines[-1]


def on_cluster(cluster: Any, *more: str) -> tuple[str, ...]:
    return (*DIGITS, "--engine", "ray", "--address", cluster.address, "--retries", "9", *more)


def wait_for(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is there, or the sweep has ended."""
    deadline = time.monotonic() + 240
    while not what() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def kill_a_worker(place: Place, process: subprocess.Popen[str]) -> None:
    """Kill a process that works in the folder and is not the sweep itself."""
    workers = [pid for pid in place.processes() if pid != process.pid]
    os.kill(workers[0], signal.SIGKILL)


def require_whole(place: Place, whole: Place) -> None:
    """Require the results of an undisturbed sweep, and nothing else left behind."""
    place.wait_until_empty()
    assert place.results() == whole.results()
    assert place.half_files() == []


def test_a_worker_and_a_node_killed_lose_nothing(
    cluster: Any, swept: tuple[Place, str, str], tmp_path: Path
) -> None:
    whole, _, _ = swept
    place = Place(tmp_path / "place", Path(whole.environment["VTCLIP_CACHE"]))
    process = place.start("sweep.py", *on_cluster(cluster))
    wait_for(lambda: [*place.folder.glob("output/*/*/*/*/log.txt")], process)
    kill_a_worker(place, process)
    wait_for(place.results, process)
    inodes = place.inodes()
    cluster.remove_node(cluster.workers[1], allow_graceful=False)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "4 of 4 runs done" in output
    require_whole(place, whole)
    assert {name: place.inodes()[name] for name in inodes} == inodes
    # a run may have written its result when its process was killed
    assert {run["state"] for run in place.record().values()} <= {"done", "skipped"}


@pytest.mark.faults
def test_a_head_that_goes_ends_the_sweep_and_the_next_goes_on(
    ray_environment: None, swept: tuple[Place, str, str], tmp_path: Path
) -> None:
    whole, _, _ = swept
    place = Place(tmp_path / "place", Path(whole.environment["VTCLIP_CACHE"]))
    first = start_cluster()
    process = place.start("sweep.py", *on_cluster(first))
    wait_for(place.results, process)
    first.shutdown()
    _, errors = process.communicate(timeout=120)
    # it is Ray that ends the process, in words of its own
    assert process.returncode == 1, errors
    assert len(errors.splitlines()) == 1, errors
    assert "Failed to connect to GCS" in errors
    place.wait_until_empty()
    inodes = place.inodes()
    assert inodes
    second = start_cluster()
    try:
        code, output, errors = place.run("sweep.py", *on_cluster(second))
    finally:
        second.shutdown()
    assert code == 0, errors
    assert f"({len(inodes)} of them before)" in output
    require_whole(place, whole)
    assert {name: place.inodes()[name] for name in inodes} == inodes


@pytest.mark.faults
def test_two_sweeps_on_one_cluster_and_a_missing_dataset(
    cluster: Any, swept: tuple[Place, str, str], tmp_path: Path
) -> None:
    whole, _, _ = swept
    place = Place(tmp_path / "place", Path(whole.environment["VTCLIP_CACHE"]))
    words = on_cluster(cluster, "--datasets", "digits,oxford_pets")
    both = [place.start("sweep.py", *words) for _ in range(2)]
    ends = [process.communicate(timeout=400) for process in both]
    assert [process.returncode for process in both] == [1, 1], ends
    for output, errors in ends:
        assert "4 of 8 runs done" in output
        assert "failed, 4 runs:" in errors
        assert "Traceback" not in errors
    require_whole(place, whole)
    assert place.logs_per_run() == {1}


@pytest.mark.faults
def test_a_full_disk_under_a_cluster(
    cluster: Any, swept: tuple[Place, str, str], small_disk: SmallDisk
) -> None:
    whole, _, _ = swept
    place = Place(small_disk.folder, Path(whole.environment["VTCLIP_CACHE"]))
    data = whole.folder.with_name("digits_data")
    shutil.copytree(whole.folder / "data", data, dirs_exist_ok=True)
    (place.folder / "fill").write_bytes(bytes(600 * 1024))
    words = on_cluster(cluster, "--root", str(data))
    code, _, errors = place.run("sweep.py", *words)
    assert code == 1, errors
    assert "No space left on device" in errors
    assert "Traceback" not in errors
    assert place.half_files() == []
    small_disk.grow("60m")
    code, _, errors = place.run("sweep.py", *words)
    assert code == 0, errors
    require_whole(place, whole)


@pytest.mark.faults
def test_hangs_and_memory_on_a_cluster(
    ray_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that hangs, one that cannot have its memory, one that a node ends for its memory."""
    import ray

    total, used = memory_of_machine()
    # the node ends what makes it use a GB more than it does now
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{(used + 2**30) / total:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    cluster = start_cluster(1)
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        folder = ROOT / "tests" / "sweep"
        engine = RayEngine(ray, Resources(timeout=15.0, retries=1), folder, command="fake_train")
        tasks = [task(name, tmp_path) for name in ("hang", "no-memory", "eat", "good")]
        events = list(filter(None, engine.carry_out(tasks, lambda _: False)))
        ray.shutdown()
    finally:
        cluster.shutdown()
    ended = {event.task.name: event.outcome for event in events if event.outcome is not None}
    states = {name: outcome.state for name, outcome in ended.items()}
    assert states == {"hang": "timeout", "no-memory": "failed", "eat": "died", "good": "done"}
    assert ended["hang"].lines == ("ended after 15 s (--timeout)",)
    assert ended["no-memory"].lines[-1].startswith("error: no memory is left")
    assert (ended["eat"].attempts, len(ended["eat"].lines)) == (2, 1)
    assert "memory" in ended["eat"].lines[0]
    started = [line.split() for line in (tmp_path / "started.txt").read_text().splitlines()]
    pids = [int(pid) for _, _, pid in started] + [int((tmp_path / "child.txt").read_text())]
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if is_alive(pid)]


def memory_of_machine() -> tuple[int, int]:
    """Return the bytes of memory that there are, and that are used."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    bytes_of = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return bytes_of["MemTotal"], bytes_of["MemTotal"] - bytes_of["MemAvailable"]
