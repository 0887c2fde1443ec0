"""Val or train images that are test images too: nothing is chosen, and the result says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vtclip.results import read_result

from .bank import write_bank
from .conftest import Arguments


@pytest.fixture(scope="module")
def leaking_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank whose validation images are 48 test images, one of them a training image too."""
    path = write_bank(tmp_path_factory.mktemp("bank") / "bank.npz")
    arrays = dict(np.load(path))
    rows = np.concatenate([np.flatnonzero(arrays["test_y"] == label)[:8] for label in range(6)])
    arrays["val_x"], arrays["val_y"] = arrays["test_x"][rows], arrays["test_y"][rows]
    arrays["train_x"][0] = arrays["test_x"][rows[0]]
    np.savez(path, **arrays)
    return path


CHOOSERS = [
    ["TipAdapter"],
    ["TipAdapterF"],
    ["LinearProbe"],
    ["CALIP"],
    ["GDA"],
    ["P0"],
    ["LPPlusPlus"],
    ["ProKeR"],
    ["VTCLIPPlus"],
    ["CLIPAdapter", "TRAINER.CLIPADAPTER.SEARCH_RATIO", "True"],
    ["VTCLIP", "TRAINER.VTCLIP.SEARCH_WEIGHT", "True"],
    ["VTCLIP", "TEST.FINAL_MODEL", "best_val"],
]


@pytest.mark.parametrize("chooser", CHOOSERS, ids=" ".join)
def test_nothing_is_chosen_on_test_images(
    chooser: list[str], leaking_bank: Path, run_train, on_bank: Arguments, tmp_path: Path, capsys
):
    arguments = on_bank(chooser[0], tmp_path / "run", *chooser[1:], file=leaking_bank)
    assert run_train(*arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "of val in test too" in last and "choose on the test" in last
    # it is refused before anything is fitted or trained
    assert not (tmp_path / "run").exists()


def test_a_result_says_what_the_lists_share(
    leaking_bank: Path, run_train, on_bank: Arguments, tmp_path: Path, capsys
):
    shots = ("DATASET.NUM_SHOTS", "-1")
    arguments = on_bank("VTCLIP", tmp_path / "run", *shots, file=leaking_bank)
    assert run_train(*arguments) == 0
    # of the 8 validation images of each class, few shots take 4
    assert read_result(tmp_path / "run" / "result.json").overlap["train"] == 1
    assert read_result(tmp_path / "run" / "result.json").overlap["val"] > 0
    assert "Warning: 1 image of train in test too" in capsys.readouterr().err
