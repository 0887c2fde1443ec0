"""ECE, NLL and temperature against examples by hand, the formulas, and another minimiser."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vtclip.calibration import (
    expected_calibration_error,
    fit_temperature,
    log_probabilities,
)


def made_up(seed: int, n: int = 300, k: int = 7, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Logits that tell something about the labels, and are surer of it than they should be."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(k, (n,), generator=draw)
    logits = torch.randn(n, k, generator=draw)
    logits[torch.arange(n), labels] += 1.0
    return scale * logits, labels


def nll(logits: Tensor, labels: Tensor, temperature: float) -> float:
    z = logits.double().numpy() / temperature
    z -= z.max(axis=1, keepdims=True)
    right = z[np.arange(len(z)), labels.numpy()]
    return float((np.log(np.exp(z).sum(axis=1)) - right).mean())


def test_ece_by_hand() -> None:
    confidence = torch.tensor([0.5, 0.4, 0.9, 0.8], dtype=torch.float64)
    correct = torch.tensor([True, False, True, True])
    # two bins: |1 - 0.9| in (0, 0.5], |2 - 1.7| in (0.5, 1], over four images
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx(0.1)


def test_ece_by_the_equation() -> None:
    draw = torch.Generator().manual_seed(1)
    confidence = torch.rand(500, generator=draw, dtype=torch.float64)
    # also the edges themselves, and certainty
    confidence[:16] = torch.arange(16, dtype=torch.float64) / 15
    correct = torch.rand(500, generator=draw) < 0.6
    expected = 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if m == 0:
            inside |= confidence == 0
        gap = correct[inside].double().mean() - confidence[inside].mean()
        expected += int(inside.sum()) / 500 * float(gap.abs())
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected, abs=1e-12)


def test_all_wrong_and_sure_of_it_is_one() -> None:
    assert expected_calibration_error(torch.ones(9), torch.zeros(9, dtype=torch.bool)) == 1.0


def test_logarithms_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 500.0]])
    found = log_probabilities(logits, torch.tensor([1, 0]))
    # 1/4 for the label, 3/4 for the other; what a probability of e^-500 would lose is kept
    assert found[0].exp().tolist() == pytest.approx([0.25, 0.75])
    assert found[1].tolist() == pytest.approx([-500.0, 0.0])
    halved = log_probabilities(logits, torch.tensor([1, 0]), temperature=2.0)
    assert halved[0].exp()[1].item() == pytest.approx(math.sqrt(3) / (1 + math.sqrt(3)))


def test_a_temperature_by_hand() -> None:
    # three of four right at a margin of 4: T = 4 / ln 3 gives the probability 3/4
    logits, labels = torch.tensor([[4.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])
    assert fit_temperature(logits, labels) == pytest.approx(4 / math.log(3), rel=1e-9)


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 3.0, 400.0])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_a_temperature_against_another_minimiser(scale: float, shift: float) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="scipy is not installed")
    logits, labels = made_up(0, scale=scale)
    logits = logits.double() + shift
    found = fit_temperature(logits, labels)
    other = optimize.minimize_scalar(
        lambda log: nll(logits, labels, math.exp(log)),
        bounds=(math.log(1e-3), math.log(1e3)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert found is not None
    # a minimum is flat, so its place is found to half of the digits only
    assert found == pytest.approx(math.exp(other.x), rel=1e-5)
    best = nll(logits, labels, found)
    assert all(best <= nll(logits, labels, found * factor) for factor in (0.999, 1.001))


def test_a_temperature_scales_with_the_logits() -> None:
    logits, labels = made_up(2)
    first, second = fit_temperature(logits, labels), fit_temperature(5 * logits, labels)
    assert first is not None and second == pytest.approx(5 * first, rel=1e-8)


def test_where_no_temperature_is_the_best_there_is_none() -> None:
    logits, labels = made_up(3)
    right = 100 * torch.nn.functional.one_hot(labels, 7).float()
    assert fit_temperature(logits + right, labels) is None  # the surer, the better
    assert fit_temperature(-right, labels) is None  # the less sure, the better
    assert fit_temperature(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])) is None


def test_no_images_are_refused() -> None:
    empty = torch.zeros(0)
    with pytest.raises(ValueError, match="images"):
        expected_calibration_error(empty, empty.bool())
    with pytest.raises(ValueError, match="images"):
        expected_calibration_error(torch.ones(2), torch.ones(3).bool())
    with pytest.raises(ValueError, match="images"):
        fit_temperature(torch.zeros(0, 2), empty.long())
