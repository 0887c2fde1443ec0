"""The law of costs, fitted on records that follow a known one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vtclip.sweep.cost import RunSizes, fit_costs, non_negative_fit
from vtclip.sweep.record import RunRecord

STEP, REST = (2e-3, 0.7, 1.3), (0.4, 0.25, 0.06)
PER_IMAGE = {"tiny": 0.002, "rn50": 0.05}
# tokens and width
FEATURES = {"tiny": (9, 128), "rn50": (49, 1024)}


def record(backbone: str, classes: int, shots: int, noise: float = 1.0) -> RunRecord:
    """Return the record of a run that costs what the law says, times `noise`."""
    tokens, width = FEATURES[backbone]
    train, test, batch = classes * shots, classes * 40, min(32, classes * shots)
    steps = 10 * max(1, train // 32)
    products = batch * classes * width / 1e9
    step = STEP[0] + STEP[1] * products * width + STEP[2] * products * tokens
    rest = REST[0] + REST[1] * test / 1e3 + REST[2] * train / 1e3
    measures = {
        "features": 17.0,
        "train": steps * step * noise,
        "total": 17.0 + (steps * step + rest) * noise,
        "classes": classes,
        "width": width,
        "batch": batch,
        "steps": steps,
        "train_images": train,
        "test_images": test,
    }
    name = f"{backbone}/{classes}/{shots}"
    return RunRecord(
        name, "VTCLIP", f"k{classes}", shots, 1, "", "", backbone=backbone, measures=measures
    )


def encoding(backbone: str, classes: int, images: int) -> RunRecord:
    tokens, width = FEATURES[backbone]
    seconds = images * PER_IMAGE[backbone]
    sizes = {"tokens": tokens, "width": width, "encoded": images, "encode_seconds": seconds}
    name = f"encode k{classes} ({backbone})"
    return RunRecord(name, "", f"k{classes}", 0, 0, "", "", backbone=backbone, measures=sizes)


def records(noise: float = 0.0) -> list[RunRecord]:
    drawn = np.random.default_rng(0)
    found = []
    for backbone, classes in itertools.product(FEATURES, (10, 40, 100)):
        found.append(encoding(backbone, classes, 3 * classes))
        for shots in (1, 4, 16):
            factor = float(np.exp(noise * drawn.standard_normal()))
            found.append(record(backbone, classes, shots, factor))
    return found


def test_a_known_law_is_found_again() -> None:
    model = fit_costs(records())
    assert model.image_seconds == pytest.approx(PER_IMAGE)
    assert model.runs["VTCLIP"].step == pytest.approx(STEP, rel=1e-6)
    assert model.runs["VTCLIP"].rest == pytest.approx(REST, rel=1e-6)


def test_runs_of_other_sizes_are_foretold_from_noisy_ones() -> None:
    law = fit_costs(records(noise=0.1)).runs["VTCLIP"]
    sizes = RunSizes(500, 49, 1024, 32, 2500, 8000, 20000)
    products = 32 * 500 * 1024 / 1e9
    truth = 2500 * (STEP[0] + STEP[1] * products * 1024 + STEP[2] * products * 49) + 0.4 + 5 + 0.48
    assert law.seconds(sizes) == pytest.approx(truth, rel=0.15)
    # what depends on no size is the same on a machine that is faster at products
    assert 2500 * law.step[0] < law.seconds(sizes, faster=1e9) < 2500 * law.step[0] + 1


def test_no_coefficient_is_negative() -> None:
    terms = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    # falls with the second term: the best of the rest is the constant of the least relative error
    constant, slope = non_negative_fit(terms, np.array([3.0, 2.0, 1.0]))
    assert slope == 0
    inverse = 1 / np.array([3.0, 2.0, 1.0])
    assert constant == pytest.approx(inverse.sum() / (inverse**2).sum())


def test_records_without_measures_say_nothing() -> None:
    model = fit_costs([RunRecord("a", "GDA", "digits", 1, 1, "", "")])
    assert (dict(model.runs), dict(model.image_seconds)) == ({}, {})
