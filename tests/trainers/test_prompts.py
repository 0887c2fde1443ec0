"""The prompts of each method."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtclip.method import registered_methods
from vtclip.prompts import ENSEMBLE, TEMPLATES
from vtclip.results import read_result


def test_methods_use_the_prompts_of_their_publication_unless_told():
    ensemble = {n for n, m in registered_methods().items() if m.prompts == "imagenet"}
    assert ensemble >= {"VTCLIP", "TipAdapter", "TipAdapterF", "CALIP"}
    assert registered_methods()["ZeroshotCLIP2"].prompts == "ensemble"
    for name in ("ZeroshotCLIP", "CoOp", "CLIPAdapter", "LinearProbe"):
        assert registered_methods()[name].prompts == "single"


@pytest.mark.parametrize("trainer", ["ZeroshotCLIP", "TipAdapter", "VTCLIP", "LinearProbe"])
def test_one_key_sets_the_prompts_of_any_method(trainer: str, run_train, tmp_path: Path):
    folder = tmp_path / trainer
    few = ("--shots", "1", "OPTIM.MAX_EPOCH", "1", "FEATURES.VIEWS", "1")
    arguments = ("--trainer", trainer, "--output-dir", str(folder), *few)
    assert run_train(*arguments, "TRAINER.PROMPT", "ensemble") == 0
    assert read_result(folder / "result.json").templates == [*ENSEMBLE, TEMPLATES["Digits"]]
