"""result.json: written whole, read back the same, refused where it cannot be believed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.results import RESULT_FILE, Result, Search, is_complete, read_result, write_result

RESULT = Result(
    trainer="TipAdapter",
    dataset="Digits",
    shots=16,
    seed=1,
    split="test",
    classes="all",
    accuracy=100 * 650 / 719,
    macro_f1=90.25,
    correct=650,
    total=719,
    zero_shot_accuracy=55.5,
    backbone="tiny",
    backbone_fingerprint="abc",
    templates=["a photo of a {}."],
    list_digest={"train": "1", "val": "2"},
    comparable=True,
    selected_on="val",
    search=Search("val", {"alpha": [1.0, 2.0]}, {"alpha": 2.0}, 91.0),
    trainable_parameters=0,
    epochs=0,
    config_digest="def",
    settings={"OPTIM.LR": 0.001},
    dataset_root="data",
    device="cpu",
    seconds={"total": 1.5},
    peak_memory_mib=300.0,
    versions={"python": "3.11"},
)


def test_round_trip_keeps_every_digit(tmp_path: Path) -> None:
    assert read_result(write_result(tmp_path, RESULT)) == RESULT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": math.nan}, "accuracy is nan"),
        ({"macro_f1": "90"}, "macro_f1 is '90'"),
        ({"accuracy": 101.0}, "not a percentage"),
        ({"schema": 0}, "schema 2"),
        ({"search": {"grid": {}}}, "search is of another form"),
    ],
)
def test_impossible_values_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    path = write_result(tmp_path, RESULT)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        read_result(path)
    assert not is_complete(tmp_path)


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    path = write_result(tmp_path, RESULT)
    raw = json.loads(path.read_text())
    del raw["seed"], raw["backbone"]
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match="lacks seed, lacks backbone"):
        read_result(path)


@pytest.mark.parametrize(("keep", "code"), [(1.0, 0), (0.5, 1)])
def test_the_command_tells_whether_a_run_is_complete(
    tmp_path: Path, keep: float, code: int
) -> None:
    path = write_result(tmp_path, RESULT)
    text = path.read_text()
    path.write_text(text[: int(keep * len(text))])
    command = [sys.executable, "-m", "vtclip.results", str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == code


def test_an_absent_result_is_not_complete(tmp_path: Path) -> None:
    assert not is_complete(tmp_path)
    with pytest.raises(UserError, match=RESULT_FILE):
        read_result(tmp_path / RESULT_FILE)
