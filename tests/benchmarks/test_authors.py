"""What is made of the lines of the authors' programs, and their stand-ins."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.authors import shims
from benchmarks.authors.cases import Case, write_part
from benchmarks.authors.programs import TIP, accuracy_of, parts_of, scaled_seconds
from benchmarks.page import _authors
from vtclip.files import write_json

LINES = [
    (2.0, "Getting textual features as CLIP's classifier."),
    (3.0, "Augment Epoch: 0 / 2"),
    (4.0, "Augment Epoch: 1 / 2"),
    (6.0, "Loading visual features and labels from val set."),
    (7.0, "-------- Searching hyperparameters on the val set. --------"),
    (17.0, "-------- Evaluating on the test set. --------"),
    (17.5, "**** Tip-Adapter's test accuracy: 61.25. ****"),
    (18.0, "Train Epoch: 0 / 4"),
    (20.0, "Train Epoch: 1 / 4"),
    (21.5, "**** Tip-Adapter-F's test accuracy: 60.00. ****"),
    (22.0, "**** After fine-tuning, Tip-Adapter-F's best test accuracy: 60.00, at epoch: 1. ****"),
    (23.0, "-------- Searching hyperparameters on the val set. --------"),
    (33.0, "-------- Evaluating on the test set. --------"),
    (33.5, "**** Tip-Adapter-F's test accuracy: 62.50. ****"),
]


def case(epochs: int | None, views: int | None) -> Case:
    return Case("", Path(), Path(), 96, 128, 16, (), epochs, views, None)


def test_parts_of_a_program() -> None:
    assert parts_of(TIP, LINES, 34.0) == {
        "start": 3.0,
        "views": 3.0,
        "images": 1.0,
        "search": 10.0,
        "evaluation": 1.0,
        "epochs": 4.0,
        "evaluation'": 2.0,
        "search'": 10.0,
    }


def test_methods_of_one_program_are_told_apart() -> None:
    adapter, trained = TIP.rows
    assert accuracy_of(adapter, LINES) == 61.25
    assert accuracy_of(trained, LINES) == 62.5
    parts = parts_of(TIP, LINES, 34.0)
    # without the epochs and what follows them
    assert scaled_seconds(parts, adapter, case(None, None)) == pytest.approx(18)
    # without the search of the other
    assert scaled_seconds(parts, trained, case(None, None)) == pytest.approx(24)


def test_views_and_epochs_are_scaled_to_all() -> None:
    adapter, trained = TIP.rows
    parts = parts_of(TIP, LINES, 34.0)
    assert scaled_seconds(parts, adapter, case(2, 2)) == pytest.approx(18 + 3 * 4)
    assert scaled_seconds(parts, trained, case(2, 2)) == pytest.approx(24 + 3 * 4 + 4 * 9)


def test_a_program_without_accuracy_ends() -> None:
    with pytest.raises(SystemExit, match="printed no accuracy"):
        accuracy_of(TIP.rows[0], LINES[:3])


def test_tensors_stay_on_the_cpu_and_in_fp32() -> None:
    layer, one = nn.Linear(2, 2), torch.ones(1)
    with shims.on_cpu():
        assert layer.cuda() is layer
        assert one.cuda() is one.to("cuda") is one
        assert one.half().dtype == torch.zeros(2, dtype=torch.float16).dtype == torch.float32
        assert float(one.numpy()) == 1
        assert torch.ones(2, 1).numpy().shape == (2, 1)
    assert one.half().dtype == torch.float16
    assert one.numpy().shape == (1,)


def test_absent_modules_have_stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shims.importlib.util, "find_spec", lambda _: None)
    monkeypatch.delitem(shims.sys.modules, "pandas", raising=False)
    shims.stand_in_for("pandas")
    pandas = importlib.import_module("pandas")
    assert pandas.DataFrame.from_records([{"a": 1}]).to_dict("records") == []
    monkeypatch.delitem(shims.sys.modules, "pandas")


def test_a_part_of_a_dataset(tmp_path: Path) -> None:
    rows = [(f"{name}/{n}.jpg", label, name) for label, name in enumerate("abc") for n in range(4)]
    source = tmp_path / "source"
    (source / "caltech-101" / "101_ObjectCategories").mkdir(parents=True)
    split = {"train": [row for row in rows if row[0] != "a/3.jpg"], "val": rows, "test": rows}
    write_json(source / "caltech-101" / "split_zhou_Caltech101.json", split)
    limits = {"train": 4, "val": 1, "test": 2}
    # "a" has too few
    assert write_part(source, tmp_path / "part", 2, limits) == ("b", "c")
    found = Case("", tmp_path / "part", Path(), 96, 128, 4, (), None, None, None)
    for part, count in limits.items():
        kept = found.rows(part)
        assert [label for _, label, _ in kept] == [0] * count + [1] * count
        assert {(path[0], name) for path, _, name in kept} == {("b", "b"), ("c", "c")}


def test_the_page_names_what_was_missed_and_what_was_scaled() -> None:
    record = {
        "case": "digits, tiny",
        "method": "TipAdapter",
        "theirs_seconds": 40.0,
        "ours_seconds": 4.0,
        "times_faster": 10.0,
        "target": 5.0,
        "scaled": False,
        "theirs_accuracy": 75.24,
        "ours_accuracy": 76.91,
    }
    section = _authors({"shims": ["a shim"], "records": [record]})
    assert "| digits, tiny | TipAdapter | 40.0" in section
    assert "All were reached" in section
    assert "*Scaled*" not in section
    assert "- a shim" in section
    late = {**record, "ours_seconds": 10.0, "times_faster": 4.0, "scaled": True}
    section = _authors({"shims": ["a shim"], "records": [record, late]})
    assert "Missed: 4.0 instead of 5 (TipAdapter, digits, tiny)." in section
    assert "40.0 (scaled)" in section
    assert "*Scaled*" in section
