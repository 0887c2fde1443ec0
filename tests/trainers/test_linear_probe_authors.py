"""CoOp's own linear probe beside ours, where VTCLIP_COOP names a checkout of KaiyangZhou/CoOp."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vtclip.results import read_result

from .conftest import Arguments, Build


@pytest.mark.parametrize("shots", [1, 2, 4, 8])
def test_same_choice_and_accuracy(
    shots: int,
    coop_checkout: Path,
    build: Build,
    run_train: Any,
    on_bank: Arguments,
    bank: Path,
    tmp_path: Path,
) -> None:
    pair = ("DATASET.NUM_SHOTS", str(shots))
    assert run_train(*on_bank("LinearProbe", tmp_path / "run", *pair)) == 0
    result = read_result(tmp_path / "run" / "result.json")
    trainer = build(on_bank("LinearProbe", tmp_path / "lists", *pair))
    chosen, accuracy = theirs(coop_checkout, trainer, bank, shots, tmp_path)
    assert result.search is not None
    assert result.search.chosen["C"] == pytest.approx(chosen, rel=1e-9)
    assert result.accuracy == pytest.approx(accuracy, abs=0.005)


def theirs(
    checkout: Path, trainer: Any, bank: Path, shots: int, folder: Path
) -> tuple[float, float]:
    """Run lpclip/linear_probe.py on the few-shot lists of a run.

    It draws its own few shots, which are all images, in another order, where it is given no more.
    It goes on to more shots than there are images, and ends there with an error.

    Returns:
        The C of its last step, and the accuracy on test images, rounded to two places.
    """
    data = folder / "features" / "bank"
    data.mkdir(parents=True)
    for split in ("train", "val"):
        features, labels = trainer.features(split)
        g = features.global_features.double().numpy()
        np.savez(data / split, feature_list=g, label_list=labels.numpy())
    with np.load(bank) as arrays:
        g, labels = arrays["test_x"].astype(np.float64), arrays["test_y"]
    np.savez(data / "test", feature_list=g, label_list=labels)
    program = checkout / "lpclip" / "linear_probe.py"
    arguments = ("--dataset", "bank", "--feature_dir", "features", "--num_run", "1")
    subprocess.run(
        [sys.executable, "-W", "ignore", program, *arguments], cwd=folder, capture_output=True
    )
    report = (folder / "report" / "features_s8r1_details.txt").read_text()
    steps = [line for line in report.splitlines() if f" {shots} shot," in line]
    assert len(steps) == 8
    values = dict(part.rsplit(" ", 1) for part in steps[-1].split(", ")[1:])
    return float(values["weight"]), float(values["test_acc"])
