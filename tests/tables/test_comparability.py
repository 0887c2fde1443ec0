from __future__ import annotations

from typing import Any

import pytest

from vtclip.results import Search
from vtclip.tables.cells import build_cells
from vtclip.tables.comparability import differences, seed_differences

from .runs import run


def pair(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    return differences([run("a", **first), run("b", **second)])


def test_methods_may_differ_in_what_makes_them_methods() -> None:
    other = {
        "trainer": "ZeroshotCLIP2",
        "shots": 0,
        "templates": ["itap of a {}.", "art of the {}."],
        "trainable_parameters": 0,
    }
    searched = {
        "trainer": "TipAdapter",
        "selected_on": "val",
        "search": Search("val", {"alpha": [1.0]}, {"alpha": 1.0}, 80.0),
    }
    assert differences([run("a"), run("b", **other), run("c", **searched)]) == []


def test_seeds_shots_and_machines_may_differ() -> None:
    same = {"seed": 2, "device": "cuda", "versions": {"torch": "2.5"}, "seconds": {"total": 3.0}}
    assert pair({}, same) == []
    assert pair({}, {"shots": 1, "epochs": 200}) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone": "RN50"}, "the table: runs differ in backbone: tiny (a); RN50 (b)"),
        (
            {"backbone_fingerprint": "fedcba9876543210"},
            "the table: runs differ in weights of the backbone: 0123456789ab (a); fedcba987654 (b)",
        ),
        ({"split": "val"}, "Digits: runs differ in split: test (a); val (b)"),
        ({"classes": "new"}, "Digits: runs differ in classes: all (a); new (b)"),
        (
            {"comparable": False},
            "Digits: runs differ in split of the data: official (a); not official (b)",
        ),
        ({"total": 700}, "Digits: runs differ in number of test images: 100000 (a); 700 (b)"),
        (
            {"evaluated": "output/other"},
            "Digits: runs differ in training: trained on the dataset (a); "
            "evaluated from a checkpoint (b)",
        ),
    ],
)
def test_what_must_agree_between_methods(change: dict[str, Any], said: str) -> None:
    assert said in pair({"seed": 1}, {"seed": 1, "trainer": "CoOp", **change})


def test_zero_shot_may_stand_beside_what_was_trained_elsewhere() -> None:
    assert pair({"trainer": "ZeroshotCLIP", "shots": 0}, {"evaluated": "output/other"}) == []


def test_the_same_images_for_every_method() -> None:
    lists = {"train": "other", "val": "v16-1"}
    assert pair({}, {"trainer": "CoOp", "list_digest": lists}) == [
        "Digits at 16 shots, seed 1: runs differ in few-shot train list: 16-1 (a); other (b)"
    ]
    assert pair({}, {"trainer": "CoOp", "list_digest": {"train": "16-1", "val": ""}}) == []
    assert pair({}, {"trainer": "CoOp", "dataset": "Letters", "list_digest": lists}) == []


@pytest.mark.parametrize("shots", [1, 16])
def test_one_method_keeps_its_prompts_and_rule_at_all_shots(shots: int) -> None:
    other = {"seed": 2, "shots": shots}
    assert pair({}, {**other, "templates": ["a {}.", "the {}."]}) == [
        "VTCLIP on Digits: runs differ in prompt templates: "
        "a photo of the number {}. (a); a {}. | the {}. (b)"
    ]
    assert pair({}, {**other, "selected_on": "val"}) == [
        "VTCLIP on Digits: runs differ in selection rule: last epoch (a); val (b)"
    ]


def test_one_cell_has_one_configuration_and_each_seed_once() -> None:
    assert pair({}, {"seed": 2, "config_digest": "other"}) == [
        "VTCLIP on Digits at 16 shots: runs differ in configuration: VTCLIP-16 (a); other (b)"
    ]
    assert pair({}, {}) == ["VTCLIP on Digits at 16 shots: seed 1 is there 2 times: a, b"]


def test_selection_on_test_is_refused() -> None:
    searched = Search("test", {"alpha": [1.0]}, {"alpha": 1.0}, 80.0)
    assert differences([run("a", selected_on="test")]) == [
        "a: selected on 'test', not on validation"
    ]
    assert differences([run("a", selected_on="val", search=searched)]) == [
        "a: searched on 'test', not on validation"
    ]


def test_two_recipes_of_a_method_are_two_rows() -> None:
    tuned = {
        "selected_on": "val",
        "search": Search("val", {"ratio": [0.2]}, {"ratio": 0.2}, 80.0),
        "config_digest": "other",
        "settings": {"TRAINER.RECIPE": "tuned"},
    }
    runs = [run("a"), run("b", **tuned)]
    assert differences(runs) == []
    assert [cell.row.method for cell in build_cells(runs)] == ["VTCLIP", "VTCLIP (tuned)"]
    # they are no seeds of one experiment
    assert any("VTCLIP (tuned)" in line for line in seed_differences(runs))
    # a result from elsewhere may say anything there
    for name in ("", 3, "two\nlines"):
        assert run(settings={"TRAINER.RECIPE": name}).result.method == "VTCLIP"
