"""`python sweep.py` from start to end on the embedded digits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import sweep
from vtclip.results import read_result

from ..conftest import ROOT

# seconds, memory and what was imported are those of a process
OF_PROCESS = {"seconds", "peak_memory_mib", "versions", "dataset_root"}
SMALL = ("--methods", "ZeroshotCLIP,GDA", "--shots", "1", "--seeds", "1-2", "--backbone", "tiny")
VIEWS = ("FEATURES.VIEWS", "2")
ROUNDS = int(os.environ.get("VTCLIP_FAULTS") or 3)


class Place:
    """A folder to run commands in, with the cache that all of them share."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.environment = {**os.environ, "VTCLIP_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        self.environment.pop("DATA", None)

    def start(self, script: str, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / script), *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str, *words: str) -> tuple[int, str, str]:
        process = self.start(script, *words)
        output, errors = process.communicate(timeout=600)
        return process.returncode, output, errors

    def results(self) -> dict[str, dict[str, Any]]:
        """Return what must be equal of all results, by folder, with the predictions."""
        found = {}
        for path in sorted(self.folder.glob("output/**/result.json")):
            values = asdict(read_result(path))
            kept = {name: value for name, value in values.items() if name not in OF_PROCESS}
            kept["predictions"] = (path.parent / "predictions.csv").read_text()
            found[str(path.parent.relative_to(self.folder))] = kept
        return found

    def record(self) -> dict[str, dict[str, Any]]:
        runs = json.loads((self.folder / "output" / "sweep.json").read_text())["runs"]
        return {run["folder"]: run for run in runs}

    def processes(self) -> list[int]:
        """Return the processes that work in this folder."""
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if link.resolve() == self.folder.resolve():
                    found.append(int(link.parent.name))
            except OSError:
                continue
        return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Place, str, str]:
    """A sweep with a dataset that is there and one that is not."""
    place = Place(tmp_path_factory.mktemp("swept"), cache)
    datasets = ("--datasets", "digits,oxford_pets", "--set", "FEATURES.VIEWS=2")
    code, output, errors = place.run("sweep.py", *SMALL, *datasets)
    assert code == 1, errors
    return place, output, errors


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
    assert "failed, 4 runs:" in errors
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


def logs_per_run(place: Place) -> set[int]:
    """Return how many logs the folders of the runs have; a run that is run again has two."""
    folders = [path.parent for path in place.folder.glob("output/**/result.json")]
    return {len(list(folder.glob("log.txt*"))) for folder in folders}


@pytest.mark.faults
def test_two_sweeps_of_the_same_runs(swept: tuple[Place, str, str], tmp_path: Path) -> None:
    whole, _, _ = swept
    place = Place(tmp_path / "twice", Path(whole.environment["VTCLIP_CACHE"]))
    words = (*SMALL, "--datasets", "digits", "--set", "FEATURES.VIEWS=2")
    both = [place.start("sweep.py", *words) for _ in range(2)]
    ends = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert place.results() == whole.results()
    assert logs_per_run(place) == {1}
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
