"""result.json: written whole, read back the same, refused where it cannot be believed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.results import (
    EXPECTED,
    EXPECTED_OF_SEARCH,
    RESULT_FILE,
    ClassScore,
    NotAResult,
    Result,
    Search,
    Temperature,
    UnreadableResult,
    is_complete,
    read_result,
    write_result,
)

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
    device="cpu",
    seconds={"total": 1.5},
    peak_memory_mib=300.0,
    versions={"python": "3.11"},
    settings={"OPTIM.LR": 0.002, "INPUT.SIZE": [224, 224], "DATASET.NAME": "Digits", "A": None},
    dataset_root="/data",
    per_class={
        'a, "b"\n': ClassScore(100 * 400 / 419, 419),
        "猫": ClassScore(100 * 250 / 300, 300),
    },
    ece=4.125,
    nll=0.3,
    temperature=Temperature(1.5, 40, 2.5, 0.25),
)

SEARCH = {"split": "val", "grid": {"alpha": [1.0]}, "chosen": {"alpha": 1.0}, "accuracy": 91.0}

TEMPERATURE = {"value": 1.5, "images": 40, "ece": 2.5, "nll": 0.25, "reason": ""}


def test_every_field_has_an_expectation() -> None:
    assert {f.name for f in fields(Result)} == EXPECTED.keys()
    assert [f.name for f in fields(Search)] == list(EXPECTED_OF_SEARCH)


def test_round_trip_keeps_every_digit(tmp_path: Path) -> None:
    assert read_result(write_result(tmp_path, RESULT)) == RESULT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": math.nan}, "accuracy is nan, not a percentage"),
        ({"macro_f1": "90"}, "macro_f1 is '90', not a percentage"),
        ({"accuracy": 101.0}, "accuracy is 101.0, not a percentage"),
        ({"accuracy": True}, "accuracy is True"),
        ({"zero_shot_accuracy": -0.5}, "zero_shot_accuracy is -0.5"),
        ({"accuracy": 91.0}, r"accuracy is 91.00%, but 650 correct of 719 images are 90.40%"),
        ({"settings": {"A": {}}}, "settings is"),
        ({"settings": {"A": [[[1]]]}}, "settings is"),
        ({"settings": {"A": math.nan}}, "settings is"),
        ({"settings": []}, "settings is"),
        ({"dataset_root": None}, "dataset_root is None, not a text"),
        ({"trainer": "a\u2028b"}, "trainer is"),
        ({"seconds": {"total": 1e300}}, "seconds is"),
        (
            {"correct": 10**6 + 1, "total": 10**6, "accuracy": 100.0},
            "1000001 correct of 1000000 images",
        ),
        ({"correct": 800}, "800 correct of 719"),
        ({"total": 0}, "total is 0, not a whole number from 1"),
        ({"schema": 0}, "of schema 0, not of schema 2"),
        ({"schema": True}, "of schema True, not"),
        ({"trainer": ["VTCLIP"]}, "trainer is"),
        ({"trainer": ""}, "trainer is '', not a name"),
        ({"dataset": "a\nb"}, "dataset is"),
        ({"backbone": "\ud800"}, "backbone is"),
        ({"evaluated": "a\0b"}, "evaluated is"),
        ({"shots": 16.0}, "shots is 16.0, not a whole number from -1"),
        ({"shots": -2}, "shots is -2"),
        ({"seed": None}, "seed is None"),
        ({"trainable_parameters": 10**400}, "trainable_parameters is 10"),
        ({"peak_memory_mib": math.inf}, "peak_memory_mib is inf"),
        ({"classes": "some"}, "classes is 'some', not one of all, base, new"),
        ({"split": {}}, "split is"),
        ({"templates": "a photo"}, "templates is"),
        ({"templates": [1]}, "templates is"),
        ({"list_digest": {"train": 1}}, "list_digest is"),
        ({"seconds": {"total": "1"}}, "seconds is"),
        ({"seconds": [1.0]}, "seconds is"),
        ({"comparable": 1}, "comparable is 1, not true or false"),
        ({"per_class": {"0": 200}}, "per_class is"),
        ({"per_class": {"0": {"accuracy": 90.0}}}, "per_class is"),
        ({"per_class": {"0": {"accuracy": 90.0, "count": 0}}}, "per_class is"),
        ({"per_class": {"0": {"accuracy": 90.0, "count": 1, "more": 1}}}, "per_class is"),
        (
            {"per_class": {"0": {"accuracy": 100.0, "count": 719}}},
            "per_class has 719 correct of 719 images, but correct and total are 650 of 719",
        ),
        (
            {"per_class": {"0": {"accuracy": 100.0, "count": 650}}},
            "per_class has 650 correct of 650 images",
        ),
        ({"ece": 101.0}, "ece is 101.0, not a percentage or null"),
        ({"ece": math.nan}, "ece is nan"),
        ({"nll": -1.0}, "nll is -1.0"),
        ({"nll": math.inf}, "nll is inf"),
        ({"nll": True}, "nll is True"),
        ({"temperature": 1.5}, "temperature is 1.5, not an object of value, images,"),
        ({"temperature": {"value": 1.5}}, "temperature is"),
        ({"temperature": TEMPERATURE | {"value": 0}}, "temperature is"),
        ({"temperature": TEMPERATURE | {"images": -1}}, "temperature is"),
        ({"temperature": TEMPERATURE | {"reason": None}}, "temperature is"),
        ({"search": []}, r"search is \[\], not an object or null"),
        ({"search": {"grid": {}}}, "lacks search.split, lacks search.chosen"),
        ({"search": SEARCH | {"tied": 0}}, "search.tied is 0"),
        ({"search": SEARCH | {"accuracy": 912}}, "search.accuracy is 912, not a percentage"),
        ({"search": SEARCH | {"grid": {"alpha": 1.0}}}, "search.grid is"),
        ({"search": SEARCH | {"chosen": {"alpha": None}}}, "search.chosen is"),
    ],
    ids=str,
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


def test_a_result_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = write_result(tmp_path, RESULT)
    raw = json.loads(path.read_text())
    for name in ("ece", "nll", "temperature"):
        del raw[name]
    path.write_text(json.dumps(raw | {"per_class": {}}))
    expected = replace(RESULT, per_class={}, ece=None, nll=None, temperature=None)
    assert read_result(path) == expected
    assert is_complete(tmp_path)


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


def test_many_problems_are_one_line(tmp_path: Path) -> None:
    path = write_result(tmp_path, RESULT)
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text())) | {"schema": 2}))
    with pytest.raises(UserError, match=r"dataset is .* and 2\d more problems; run the seed again"):
        read_result(path)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = write_result(tmp_path, RESULT)
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert read_result(path) == RESULT


@pytest.mark.parametrize(
    "text",
    [
        '{"dataset": "flowers", "model": "ViT-B-32", "metrics": {"acc1": 0.6}}',
        "[]",
        "{}",
        "1",
        "null",
        '"result"',
        '{"schema": "1"}',
        '{"schema": 1, "metrics": {"acc1": 0.6}}',
    ],
)
def test_the_file_of_another_program_is_told_apart(tmp_path: Path, text: str) -> None:
    (tmp_path / RESULT_FILE).write_text(text)
    with pytest.raises(NotAResult, match="another program") as caught:
        read_result(tmp_path / RESULT_FILE)
    assert not isinstance(caught.value, UnreadableResult)


def test_our_damaged_file_is_not_one_of_another_program(tmp_path: Path) -> None:
    path = write_result(tmp_path, RESULT)
    raw = json.loads(path.read_text())
    del raw["schema"]
    for damaged in (raw, {"schema": 2}):
        path.write_text(json.dumps(damaged))
        with pytest.raises(UserError) as caught:
            read_result(path)
        assert not isinstance(caught.value, NotAResult)
    path.write_text(json.dumps(raw)[:-20])
    with pytest.raises(UnreadableResult, match="not JSON"):
        read_result(path)
