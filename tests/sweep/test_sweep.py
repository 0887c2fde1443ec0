"""`python sweep.py` from start to end on the embedded digits."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sweep

from ..conftest import ROOT
from .conftest import SmallDisk
from .place import DIGITS, SMALL, VIEWS, Place

ROUNDS = int(os.environ.get("VTCLIP_FAULTS") or 3)


def test_a_sweep_equals_train_py_to_the_last_digit(swept: tuple[Place, str, str]) -> None:
    place, _, _ = swept
    results = place.results()
    assert len(results) == 4
    alone = Place(place.folder.with_name("alone"), Path(place.environment["VTCLIP_CACHE"]))
    for words in (("GDA", "--seed", "2"), ("ZeroshotCLIP", "--seed", "1")):
        dataset = ("--dataset-config-file", str(ROOT / "configs" / "datasets" / "digits.yaml"))
        rest = (*dataset, "--shots", "1", "--backbone", "tiny", *VIEWS)
        code, _, errors = alone.run("train.py", "--trainer", *words, *rest)
        assert code == 0, errors
    by_train = alone.results()
    assert len(by_train) == 2
    assert by_train == {folder: results[folder] for folder in by_train}


def test_a_missing_dataset_fails_its_runs_alone(swept: tuple[Place, str, str]) -> None:
    place, output, errors = swept
    states = [(run["dataset"], run["state"]) for run in place.record().values() if run["method"]]
    assert sorted(states) == 4 * [("digits", "done")] + 4 * [("oxford_pets", "failed")]
    # told together, unless one process had more to say than another
    counts = re.findall(r"^failed, (\d+) runs?:$", errors, re.MULTILINE)
    assert sum(map(int, counts)) == 4
    repeats = [line for line in errors.splitlines() if line.startswith("  repeat: python ")]
    assert len(repeats) == 4
    assert all("oxford_pets.yaml" in line and "--seed" in line for line in repeats)
    assert "Traceback" not in errors
    assert "4 of 8 runs done, 4 failed" in output
    # the table and what goes on from it
    assert "ZeroshotCLIP" in output
    assert "parse_test_res.py output/digits --table" in output
    assert not list(place.folder.glob("output/oxford_pets/**/*"))


def test_what_has_a_result_is_not_run_again(
    swept: tuple[Place, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, _, _ = swept
    monkeypatch.chdir(place.folder)
    monkeypatch.delenv("DATA", raising=False)
    before = {path: path.stat().st_mtime_ns for path in place.folder.glob("output/*/**/*")}
    words = [*SMALL, "--datasets", "digits"]
    assert sweep.main([*words, "--set", "FEATURES.VIEWS=2"]) == 0
    assert "4 of 4 runs done (4 of them before)" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in place.folder.glob("output/*/**/*")}
    assert before == after
    # another setting is another run
    assert sweep.main([*words, "--set", "FEATURES.VIEWS=3", "--dry-run"]) == 0
    assert "0 of 4 runs done" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sweep.main([*SMALL, "--datasets", "digits", "--only", "1/2", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("to run: python ")]) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "--methods"),
        (("--set", "SEED"), "KEY=VALUE"),
        (("--cpus", "0"), "--cpus"),
        (("--gpus", "2"), "--gpus"),
        (("--only", "9/2"), "--only"),
        (("absent.yaml",), "absent.yaml"),
    ],
)
def test_wrong_arguments_are_one_line(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = () if not words else (*SMALL, "--datasets", "digits")
    assert sweep.main([*words, *rest]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith("error: ")
    assert reason in errors[-1]


def test_arguments_are_read_before_torch() -> None:
    code = (
        "import sys, sweep; sweep.parse_args(['--shots', '4']); "
        "print(*sorted({'torch', 'numpy', 'dassl'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="the system has no /proc")
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.faults)]
)
def test_a_sweep_that_was_ended_goes_on(
    number: signal.Signals, swept: tuple[Place, str, str], tmp_path: Path
) -> None:
    whole, _, _ = swept
    place = Place(tmp_path / "ended", Path(whole.environment["VTCLIP_CACHE"]))
    words = (*SMALL, "--datasets", "digits", "--set", "FEATURES.VIEWS=2", "--workers", "1")
    process = place.start("sweep.py", *words)
    deadline = time.monotonic() + 300
    while not place.results() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (-9, 143), errors
    assert "Traceback" not in errors
    while place.processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert place.processes() == []
    finished = {
        name: (place.folder / name / "result.json").stat().st_ino for name in place.results()
    }
    code, output, errors = place.run("sweep.py", *words)
    assert code == 0, errors
    assert f"{len(finished)} of them before" in output
    # what was complete did not run twice
    for name, inode in finished.items():
        assert (place.folder / name / "result.json").stat().st_ino == inode
    assert place.results() == whole.results()
    assert place.processes() == []


@pytest.mark.faults
def test_two_sweeps_of_the_same_runs(swept: tuple[Place, str, str], tmp_path: Path) -> None:
    whole, _, _ = swept
    place = Place(tmp_path / "twice", Path(whole.environment["VTCLIP_CACHE"]))
    words = (*SMALL, "--datasets", "digits", "--set", "FEATURES.VIEWS=2")
    both = [place.start("sweep.py", *words) for _ in range(2)]
    ends = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert place.results() == whole.results()
    assert place.logs_per_run() == {1}
    assert {run["state"] for run in place.record().values()} <= {"done", "skipped"}


@pytest.mark.faults
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="the system has no /proc")
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_workers_killed_at_random_moments(
    seed: int, swept: tuple[Place, str, str], tmp_path: Path
) -> None:
    whole, _, _ = swept
    drawn = random.Random(seed)
    place = Place(tmp_path / "killed", Path(whole.environment["VTCLIP_CACHE"]))
    words = (*SMALL, "--datasets", "digits", "--set", "FEATURES.VIEWS=2", "--retries", "9")
    process = place.start("sweep.py", *words)
    for _ in range(4):
        time.sleep(drawn.uniform(1.0, 5.0))
        workers = [pid for pid in place.processes() if pid != process.pid]
        # one that has not begun is no fault of a run
        if workers and process.poll() is None and any(place.folder.glob("output/*/*")):
            os.kill(drawn.choice(workers), signal.SIGKILL)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert place.results() == whole.results()
    assert place.processes() == []


@pytest.mark.faults
def test_a_full_disk_is_one_line_and_the_sweep_goes_on_with_room(
    swept: tuple[Place, str, str], small_disk: SmallDisk
) -> None:
    whole, _, _ = swept
    place = Place(small_disk.folder, Path(whole.environment["VTCLIP_CACHE"]))
    shutil.copytree(
        whole.folder / "data", whole.folder.with_name("digits_data"), dirs_exist_ok=True
    )
    words = (*DIGITS, "--root", str(whole.folder.with_name("digits_data")))
    # leaves too little for all four runs
    (place.folder / "fill").write_bytes(bytes(600 * 1024))
    code, _, errors = place.run("sweep.py", *words)
    assert code == 1, errors
    assert "Traceback" not in errors
    assert "No space left on device" in errors
    assert place.half_files() == []
    small_disk.grow("60m")
    finished = set(place.results())
    code, output, errors = place.run("sweep.py", *words)
    assert code == 0, errors
    assert f"({len(finished)} of them before)" in output or not finished
    assert place.results() == whole.results()
