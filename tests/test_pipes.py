"""A pipe in the place of a file is refused in one line: reading it would never end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.matlab import read_variable
from datasets.split import read_split
from datasets.textfiles import read_lines
from tests.fuzz.common import within
from vtclip import checkpoints
from vtclip.backbones.checkpoint_files import read_clip_state_dict
from vtclip.config.merge import read_file
from vtclip.errors import UserError
from vtclip.overlap import overlap
from vtclip.predictions import PREDICTIONS_FILE, Judged, read_predictions
from vtclip.report.page import Shown, _shown
from vtclip.results import read_result
from vtclip.saved_model import _read_tensors
from vtclip.tables.published import read_published

READERS: dict[str, Callable[[Path], object]] = {
    "configuration": read_file,
    "split": lambda path: read_split(path, ""),
    "lines": lambda path: read_lines(path, "fetch it"),
    "MATLAB": lambda path: read_variable(path, "labels"),
    "result": read_result,
    "published figures": read_published,
    "checkpoint": checkpoints.load,
    "tensors of a run": lambda path: _read_tensors(path, ""),
    "weights": read_clip_state_dict,
    "image": lambda path: overlap([str(path)], ["other"]),
}


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("kind", READERS)
def test_a_pipe_is_refused(kind: str, pipe: Path) -> None:
    with within(20), pytest.raises(UserError) as refused:
        READERS[kind](pipe)
    assert str(refused.value).startswith(f"{pipe}: ")
    expected = "no such file of weights" if kind == "weights" else "a pipe or device and no file"
    assert expected in str(refused.value)


def test_predictions_in_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / PREDICTIONS_FILE)
    with within(20), pytest.raises(UserError, match="a pipe or device and no file"):
        read_predictions(tmp_path)


def test_a_pipe_in_the_place_of_an_image_is_left_out_of_a_page(pipe: Path) -> None:
    judged = Judged("pipe", "a", "b", 0.1, 0.9, "a")
    with within(20):
        assert _shown(judged, pipe, None) == Shown(judged, "")


@pytest.mark.parametrize("option", ["--config-file", "--dataset-config-file", "--backbone"])
def test_train_refuses_a_pipe(option: str, pipe: Path, run_train, capsys) -> None:
    with within(60):
        assert run_train(option, str(pipe)) == 2
    error = capsys.readouterr().err
    assert str(pipe) in error
    assert len(error.splitlines()) == 1


def test_train_refuses_a_pipe_in_the_place_of_its_result(run_train, tmp_path: Path, capsys) -> None:
    os.mkfifo(tmp_path / "result.json")
    short = ("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1", "FEATURES.VIEWS", "1")
    with within(60):
        assert run_train("--output-dir", str(tmp_path), *short) == 2
    assert "result.json: a pipe or device and no file." in capsys.readouterr().err
    assert (tmp_path / "result.json").is_fifo()
