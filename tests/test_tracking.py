"""TRAIN.TRACK: which scalars arrive where."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from yacs.config import CfgNode

from vtclip import scalars
from vtclip.errors import UserError
from vtclip.results import read_result
from vtclip.tracking import CsvTracker, check_tracker

SHORT = ("--trainer", "VTCLIP", "--shots", "1", "OPTIM.MAX_EPOCH", "2")


class FakeWandb(ModuleType):
    """What is used of wandb, which keeps what it is given."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.started: list[dict[str, Any]] = []
        self.logged: list[dict[str, float]] = []
        self.finished = 0

    def init(self, **arguments: Any) -> FakeWandb:
        self.started.append(arguments)
        return self

    def log(self, numbers: dict[str, float]) -> None:
        assert not self.finished
        self.logged.append(numbers)

    def finish(self) -> None:
        self.finished += 1


def read(folder: Path) -> list[tuple[str, str, float]]:
    with (folder / "scalars.csv").open(newline="") as file:
        return [(r["step"], r["name"], float(r["value"])) for r in csv.DictReader(file)]


def test_csv_keeps_every_digit_and_goes_on(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path)
    tracker.add_scalar("train/loss", 1 / 3, 0)
    tracker.add_scalar("train/loss", 0.1 + 0.2, 1)
    # without a close, as after a kill
    again = CsvTracker(tmp_path)
    again.add_scalar('a "name", with commas', -0.0, None)
    again.close()
    tracker.close()
    assert read(tmp_path) == [
        ("0", "train/loss", 1 / 3),
        ("1", "train/loss", 0.30000000000000004),
        ("", 'a "name", with commas', -0.0),
    ]


def test_a_run_with_csv_and_one_with_a_tracker_get_the_same(
    run_train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, remote = tmp_path / "csv", tmp_path / "remote"
    assert run_train("--output-dir", str(table), *SHORT, "TRAIN.TRACK", "csv") == 0
    rows = read(table)
    by_name = {name: [(step, value) for step, n, value in rows if n == name] for _, name, _ in rows}
    result = read_result(table / "result.json")
    assert [value for _, value in by_name["test/accuracy"]] == [result.accuracy]
    losses = [name for name in by_name if "loss" in name]
    assert losses and all(len({step for step, _ in by_name[n]}) == len(by_name[n]) for n in losses)
    assert not list(table.glob("tensorboard/events*"))

    fake = FakeWandb("trackio")
    fake.__spec__ = sys.__spec__
    monkeypatch.setitem(sys.modules, "trackio", fake)
    assert run_train("--output-dir", str(remote), *SHORT, "TRAIN.TRACK", "trackio") == 0
    assert fake.finished == 1
    (started,) = fake.started
    assert (started["project"], started["name"]) == ("vtclip", remote.as_posix())
    assert started["config"]["OPTIM.MAX_EPOCH"] == 2
    arrived = [
        (str(numbers["step"]), name, value)
        for numbers in fake.logged
        for name, value in numbers.items()
        if name != "step"
    ]
    assert [row for row in arrived if "time" not in row[1]] == [
        row for row in rows if "time" not in row[1]
    ]


def test_an_absent_tracker_is_one_line_before_anything_runs(
    run_train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vtclip.tracking.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"TRAIN\.TRACK: trackio is not installed"):
        check_tracker("trackio")
    check_tracker("tensorboard")
    folder = tmp_path / "run"
    assert run_train("--output-dir", str(folder), *SHORT, "TRAIN.TRACK", "wandb") == 2
    assert "error: TRAIN.TRACK: wandb is not installed; pip install wandb" in capfd.readouterr().err
    assert run_train("--output-dir", str(folder), *SHORT, "TRAIN.TRACK", "wandbb") == 2
    assert "did you mean wandb?" in capfd.readouterr().err
    assert not folder.exists()


class Bare(scalars.Scalars):
    """A trainer without data."""

    def __init__(self, folder: Path, track: str) -> None:
        self._writer: Any = None
        self.output_dir = str(folder)
        self.cfg = CfgNode({"TRAIN": {"TRACK": track}})


def test_without_tensorboard_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scalars, "find_spec", lambda name: None)
    for track, said in (
        ("tensorboard", "No TensorBoard files: pip install 'vtclip[track]'"),
        ("none", ""),
    ):
        trainer = Bare(tmp_path, track)
        trainer.init_writer(str(tmp_path / "tensorboard"))
        trainer.write_scalar("train/loss", 0.5, 0)
        trainer.close_writer()
        assert capsys.readouterr().out.startswith(said)
    assert list(tmp_path.iterdir()) == []
