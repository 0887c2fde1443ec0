"""Worker processes of this machine: what they are given, and what becomes of their faults."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.run_folder import locked
from vtclip.sweep import task_queue
from vtclip.sweep.engines import Outcome, Resources, Task
from vtclip.sweep.local import LocalEngine, environment_of, worker_count

from ..conftest import ROOT


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


def task(what: str, place: Path) -> Task:
    return Task(what, "fakes", "run", ((what, str(place)),))


def carry_out(engine: LocalEngine, *tasks: Task) -> dict[str, Outcome]:
    events = engine.carry_out(tasks, lambda _: False)
    ended = [event for event in events if event and event.outcome is not None]
    assert len(ended) == len(tasks)
    return {event.task.name: event.outcome for event in ended if event.outcome is not None}


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def engine_of(resources: Resources, workers: int = 1) -> LocalEngine:
    return LocalEngine(workers, resources, ROOT / "tests" / "sweep", command="fake_train")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="the system has no /proc")
def test_faults_end_their_run_and_no_other(place: Path) -> None:
    names = ("good", "refuse", "die-once", "die", "break", "hang", "no-memory", "last")
    engine = engine_of(Resources(cpus=3, timeout=2.0, retries=1), workers=2)
    outcomes = carry_out(engine, *(task(name, place) for name in names))
    assert {name: outcome.state for name, outcome in outcomes.items()} == {
        "good": "done",
        "refuse": "failed",
        "die-once": "done",
        "die": "died",
        "break": "failed",
        "hang": "timeout",
        "no-memory": "failed",
        "last": "done",
    }
    attempts = {name: outcome.attempts for name, outcome in outcomes.items()}
    assert attempts == {**dict.fromkeys(names, 1), "die-once": 2, "die": 2}
    assert outcomes["refuse"].lines == ("a line before", "error: DATASET.ROOT: nothing there.")
    assert outcomes["die"].lines[-1] == "the process was killed (SIGKILL)"
    assert outcomes["break"].lines[-1] == "ZeroDivisionError: a bug"
    assert outcomes["no-memory"].lines == (
        "error: no memory is left for the run; let fewer run side by side (--workers, --memory).",
    )
    assert outcomes["hang"].lines[-1] == "ended after 2 s (--timeout)"
    started = [line.split() for line in (place / "started.txt").read_text().splitlines()]
    assert {threads for _, threads, _ in started} == {"3"}
    # a worker that is well goes on with the next run
    assert len({pid for _, _, pid in started}) < len(started)
    child = int((place / "child.txt").read_text())
    assert not [pid for pid in (child, *(int(pid) for _, _, pid in started)) if is_alive(pid)]


def test_the_errors_of_a_run_are_its_own(place: Path) -> None:
    tasks = [Task(f"refuse {number}", "", "run", (("refuse", str(place)),)) for number in range(2)]
    outcomes = carry_out(engine_of(Resources()), *tasks)
    expected = ("a line before", "error: DATASET.ROOT: nothing there.")
    assert [outcome.lines for outcome in outcomes.values()] == [expected, expected]


def test_a_folder_in_use_is_waited_for(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_queue, "SECONDS_UNTIL_BUSY_AGAIN", 0.2)
    events = engine_of(Resources()).carry_out([task("wait", place)], lambda _: False)
    with locked(place / "folder"):
        started = next(filter(None, events))
        deadline = time.monotonic() + 120
        while not (place / "started.txt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert started.outcome is None
    *_, last = filter(None, events)
    assert last.outcome is not None
    assert last.outcome.state == "done"


def test_a_command_that_cannot_start_is_one_line(place: Path) -> None:
    engine = LocalEngine(1, Resources(), place, command="absent")
    with pytest.raises(UserError, match="could not start"):
        list(engine.carry_out([task("good", place)], lambda _: False))


def test_cores_gpus_and_memory_limit_the_workers() -> None:
    assert worker_count(Resources(cpus=3), 8, 0, 16.0) == 2
    assert worker_count(Resources(), 32, 8, 256.0) == 8
    assert worker_count(Resources(gpus=0.25), 32, 2, 256.0) == 8
    assert worker_count(Resources(gpus=0.0), 4, 8, 256.0) == 4
    assert worker_count(Resources(memory_gb=6.0), 8, 0, 16.0) == 2


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        (Resources(cpus=9), "8 cores"),
        (Resources(gpus=0.5), "no GPU"),
        (Resources(memory_gb=17.0), r"--memory 17"),
    ],
)
def test_what_does_not_fit_is_refused(resources: Resources, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        worker_count(resources, 8, 0, 16.0)


def test_no_gpu_has_more_runs_than_its_share_allows() -> None:
    devices = ("0", "3")
    share = Resources(cpus=2, gpus=0.5)
    given = [environment_of(number, share, devices, {}) for number in range(4)]
    assert [own["CUDA_VISIBLE_DEVICES"] for own in given] == ["0", "0", "3", "3"]
    assert {own["OMP_NUM_THREADS"] for own in given} == {"2"}
    none = environment_of(0, Resources(gpus=0.0), devices, {"OMP_NUM_THREADS": "5"})
    assert (none["CUDA_VISIBLE_DEVICES"], none["OMP_NUM_THREADS"]) == ("", "5")
    assert "CUDA_VISIBLE_DEVICES" not in environment_of(0, Resources(), (), {})
