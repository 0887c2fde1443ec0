"""Runs that are ended at random moments, share a folder or fill their disk, as users meet them.

`make faults` runs all of it; VTCLIP_FAULTS sets the number of rounds. `make test` runs one round of
kills alone.
"""

from __future__ import annotations

import copy
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vtclip import checkpoints
from vtclip.results import read_result
from vtclip.run_folder import UNFINISHED_NAME

from ..conftest import ROOT

ROUNDS = int(os.environ.get("VTCLIP_FAULTS") or 3)
EPOCHS = 30
OPTIONS = (
    *("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", str(EPOCHS), "FEATURES.VIEWS", "2"),
    *("TRAIN.CHECKPOINT_FREQ", "2"),
)
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
# the signal may come before the program has set its handlers, or after its work is done
EARLY_OR_LATE = (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, 1)


class Runs:
    """Runs of train.py with the same options, each in a process of its own."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.whole = folder / "whole"
        self.environment = {
            **os.environ,
            "DATA": str(data),
            "VTCLIP_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        started = time.monotonic()
        assert self.end(self.start(self.whole)) == (0, "")
        self.seconds = time.monotonic() - started

    def with_cache(self, cache: Path) -> Runs:
        """Return the same with another feature cache."""
        other = copy.copy(self)
        other.environment = {**self.environment, "VTCLIP_CACHE": str(cache)}
        return other

    def start(self, folder: Path, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "train.py", "--output-dir", str(folder), *OPTIONS, *options],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # a shell in the background lets its children ignore Ctrl-C; and a group of its own
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            start_new_session=True,
        )

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        _, errors = process.communicate(timeout=300)
        return process.returncode, errors

    def broken(self, folder: Path, number: int, seconds: float, to_all: bool) -> tuple[int, str]:
        """Start a run, send it a signal some time after its log is there, and wait for its end."""
        before = len(list(folder.glob("log.txt*")))
        process = self.start(folder)
        while process.poll() is None and len(list(folder.glob("log.txt*"))) == before:
            time.sleep(0.01)
        time.sleep(seconds)
        if process.poll() is None:
            (os.killpg if to_all else os.kill)(process.pid, number)
        return self.end(process)

    def require_equal(self, folder: Path) -> None:
        first, second = (
            checkpoints.load(run / "head" / f"model.pth.tar-{EPOCHS}")["state_dict"]
            for run in (self.whole, folder)
        )
        assert all(first[name].equal(second[name]) for name in first)
        results = [read_result(run / "result.json") for run in (self.whole, folder)]
        assert results[0].accuracy == results[1].accuracy
        assert not (folder / "head" / checkpoints.UNFINISHED).exists()
        left = [path for path in folder.rglob(".*") if UNFINISHED_NAME.fullmatch(path.name)]
        assert not left


@pytest.fixture(scope="module")
def runs(digits_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(digits_root, tmp_path_factory.mktemp("runs"))


def break_and_resume(runs: Runs, folder: Path, seed: int, numbers: list[int], breaks: int) -> None:
    drawn = random.Random(seed)
    for _ in range(breaks):
        number = drawn.choice(numbers)
        seconds = drawn.uniform(0, runs.seconds / 2)
        code, errors = runs.broken(folder, number, seconds, to_all=drawn.random() < 0.3)
        assert "Traceback" not in errors, errors
        assert code in (CODES[signal.Signals(number)], *EARLY_OR_LATE), errors
        if code > 2:
            assert len(errors.splitlines()) == 1, errors
        if code == 0:
            break
    assert runs.end(runs.start(folder)) == (0, "")
    runs.require_equal(folder)


def test_a_killed_run_goes_on_to_equal_numbers(runs: Runs, tmp_path: Path) -> None:
    break_and_resume(runs, tmp_path, 0, [signal.SIGKILL], 1)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_kills_at_random_moments(seed: int, runs: Runs, tmp_path: Path) -> None:
    break_and_resume(runs, tmp_path, seed, [signal.SIGKILL], 3)


# what tells that a run is at a part, in the order of the parts, and the longest wait from there
SIGNS: dict[str, tuple[Callable[[Path, Path], bool], float]] = {
    "start": (lambda folder, cache: True, 2.0),
    "encoding": (lambda folder, cache: any(cache.glob("*.lock")), 0.5),
    "training": (lambda folder, cache: any(folder.glob("head/*")), 0.3),
    "test": (lambda folder, cache: (folder / "head" / f"model.pth.tar-{EPOCHS}").exists(), 0.1),
    "writing": (lambda folder, cache: any(folder.glob("*predictions*")), 0.0),
}


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(4))
def test_a_kill_in_every_part_of_a_run(seed: int, runs: Runs, tmp_path: Path) -> None:
    """20 kills: a run is killed in each part, goes on, and is killed in the next."""
    drawn = random.Random(seed)
    # of its own, and empty: the first run encodes
    cache, folder = tmp_path / "cache", tmp_path / "run"
    runs = runs.with_cache(cache)
    codes = {}
    for part, (sign, longest) in SIGNS.items():
        process = runs.start(folder)
        while process.poll() is None and not sign(folder, cache):
            time.sleep(0.001)
        time.sleep(drawn.uniform(0, longest))
        process.kill()
        codes[part], errors = runs.end(process)
        assert "Traceback" not in errors, errors
    # the last parts are so short that the run may be done before the kill
    assert {codes[part] for part in ("start", "encoding", "training")} == {-signal.SIGKILL}, codes
    assert set(codes.values()) <= {-signal.SIGKILL, 0}, codes
    assert runs.end(runs.start(folder)) == (0, "")
    runs.require_equal(folder)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_signals_at_random_moments(seed: int, runs: Runs, tmp_path: Path) -> None:
    break_and_resume(runs, tmp_path, seed, [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], 3)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_two_runs_in_one_folder(seed: int, runs: Runs, tmp_path: Path) -> None:
    first = runs.start(tmp_path)
    time.sleep(random.Random(seed).uniform(0, runs.seconds / 2))
    ends = [runs.end(process) for process in (runs.start(tmp_path), first)]
    codes = sorted(code for code, _ in ends)
    # the second one finds the first at work, or its result
    assert codes in ([0, 2], [0, 0]), ends
    assert all("another process runs here" in errors for code, errors in ends if code == 2)
    runs.require_equal(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB, less than a run leaves behind."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.faults
def test_a_full_disk_is_one_line_and_leaves_no_half_file(runs: Runs, small_disk: Path) -> None:
    code, errors = runs.end(runs.start(small_disk / "run"))
    assert code == 2, errors
    assert "Traceback" not in errors
    assert sum(line.startswith("error: ") for line in errors.splitlines()) == 1, errors
    assert not [path for path in small_disk.rglob(".*") if UNFINISHED_NAME.fullmatch(path.name)]
