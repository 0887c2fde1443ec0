"""Prompts as the papers have them."""

from __future__ import annotations

import pytest

from vtclip.errors import UserError
from vtclip.prompts import ENSEMBLE, TEMPLATES, check_template, fill, templates_for


def test_underscores_become_spaces() -> None:
    assert fill("a photo of a {}.", ["Apply_Eye_Makeup", "cat"]) == [
        "a photo of a Apply Eye Makeup.",
        "a photo of a cat.",
    ]


def test_the_ensemble_does_not_grow_from_call_to_call() -> None:
    own = "{} texture."
    first = templates_for("ensemble", "DescribableTextures", own)
    assert first == (*ENSEMBLE, own)
    assert templates_for("ensemble", "DescribableTextures", own) == first
    assert len(ENSEMBLE) == 7


def test_auto_is_the_ensemble_on_imagenet_alone() -> None:
    assert templates_for("imagenet", "ImageNet", TEMPLATES["ImageNet"]) == ENSEMBLE
    assert templates_for("imagenet", "OxfordPets", "x {}") == ("x {}",)
    assert templates_for("single", "ImageNet", "x {}") == ("x {}",)
    assert templates_for("imagenet+single", "ImageNet", "x {}") == (*ENSEMBLE, "x {}")
    assert templates_for("imagenet+single", "OxfordPets", "x {}") == ("x {}",)


@pytest.mark.parametrize("template", ["no place", "{} and {}", "{name}", "{} {0}"])
def test_a_template_has_one_place(template: str) -> None:
    with pytest.raises(UserError, match=r"DATASET\.TEMPLATE"):
        check_template(template)


def test_every_known_template_is_one() -> None:
    for template in (*TEMPLATES.values(), *ENSEMBLE):
        assert check_template(template) == template
