from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vtclip.search import (
    distance,
    geometric,
    grid_search,
    log_likelihood,
    nearly_best,
    nearly_most_gain,
)

LABELS = torch.tensor([0, 1])


def towards(truth: float) -> Tensor:
    """Logits that are right where `truth` is above 0, the more certain the higher."""
    return truth * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])


def test_the_most_accurate_point_is_taken() -> None:
    found = grid_search(lambda a, b: towards(a * b - 5), LABELS, {"a": [1, 2], "b": [2, 3]})
    assert found.split == "val"
    assert found.grid == {"a": [1.0, 2.0], "b": [2.0, 3.0]}
    assert found.chosen == {"a": 2.0, "b": 3.0}
    assert found.accuracy == 100.0


def test_cross_entropy_decides_between_equals_then_the_order() -> None:
    assert grid_search(towards, LABELS, {"truth": [1, 3, 2]}).chosen == {"truth": 3.0}
    seen: list[tuple[float, float]] = []

    def equal(a: float, b: float) -> Tensor:
        seen.append((a, b))
        return towards(1.0)

    assert grid_search(equal, LABELS, {"a": [5, 4], "b": [3, 2]}).chosen == {"a": 5.0, "b": 3.0}
    # the last name changes fastest
    assert seen == [(5, 3), (5, 2), (4, 3), (4, 2)]


def test_accuracy_counts_before_certainty() -> None:
    def logits(kind: float) -> Tensor:
        if kind:
            return 0.01 * towards(1.0)
        return torch.tensor([[50.0, 0.0], [0.01, 0.0]])

    found = grid_search(logits, LABELS, {"kind": [0, 1]})
    assert found.chosen == {"kind": 1.0}


def pair(probabilities: list[float]) -> Tensor:
    """Logits [N, 2] of the probabilities of the second of two classes."""
    second = torch.tensor(probabilities)
    return torch.stack([(1 - second).log(), second.log()], dim=1)


def test_a_small_sure_gain_comes_before_a_large_uncertain_one() -> None:
    labels = torch.ones(4, dtype=torch.int64)
    zero_shot = pair([0.6, 0.6, 0.6, 0.6])
    points = [zero_shot, pair([0.7] * 4), pair([0.99, 0.99, 0.55, 0.55])]
    # mean gains 0, log(7/6) = 0.154 and (log(1.65) + log(0.55/0.6)) / 2 = 0.207; the standard error
    # of the last is (log(1.65) - log(0.55/0.6)) / 2 / sqrt(4) = 0.147, half of it 0.073
    found = grid_search(lambda at: points[int(at)], labels, {"at": [0, 1, 2]}, reference=zero_shot)
    assert found.chosen == {"at": 1.0}
    assert found.tied == 3
    # the same grid without zero-shot CLIP's logits: the lowest cross-entropy
    assert grid_search(lambda at: points[int(at)], labels, {"at": [0, 1, 2]}).chosen == {"at": 2.0}


def test_over_confidence_is_not_rewarded() -> None:
    # all images right from a weight of 1 on: cross-entropy falls to 0 with the weight
    labels = torch.tensor([0, 1] * 20)
    direction = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(20, 1)
    sizes = torch.linspace(0.5, 3.0, 40)[:, None]
    zero_shot = direction * sizes * torch.where(torch.arange(40) % 10 == 9, -0.1, 1.0)[:, None]
    grid = {"alpha": [0.1, 1.0, 2.0, 5.0, 50.0]}

    def logits(alpha: float) -> Tensor:
        return zero_shot + alpha * direction

    assert grid_search(logits, labels, grid).chosen == {"alpha": 50.0}
    found = grid_search(logits, labels, grid, reference=zero_shot)
    assert found.chosen["alpha"] < 50.0
    assert (found.tied, found.accuracy) == (4, 100.0)


def test_zero_shot_stays_where_nothing_gains() -> None:
    labels = torch.tensor([1, 1, 1, 1])
    zero_shot = pair([0.8, 0.7, 0.9, 0.6])
    # each point takes as much from two images as it gives to the others
    swing = torch.tensor([[0.0, 1.0], [0.0, -1.0]] * 2)
    weights = [0.3, 0.0, 0.1]
    found = grid_search(
        lambda w: zero_shot + w * swing, labels, {"w": weights}, reference=zero_shot
    )
    assert found.chosen == {"w": 0.0}


def test_a_lead_of_one_image_among_few_is_no_lead() -> None:
    # sqrt(41 q (1 - q)) at q = 41/43 is 1.35 images; of 400 images 390 right, 3.2
    assert nearly_best(torch.tensor([40, 39, 38]), 41).tolist() == [True, True, False]
    assert nearly_best(torch.tensor([390, 387, 386]), 400).tolist() == [True, True, False]
    # all right: q = 11/12, 0.87 images
    assert nearly_best(torch.tensor([9, 10]), 10).tolist() == [False, True]


def test_the_gain_is_paired() -> None:
    # images differ by far more than a point does from zero-shot CLIP
    zero_shot = torch.tensor([-9.0, -0.1, -5.0, -0.2])
    found = torch.stack(
        [zero_shot, zero_shot + 0.10, zero_shot + torch.tensor([0.2, 0.0, 0.2, 0.0]) + 0.01]
    )
    everywhere = torch.tensor([True, True, True])
    # the last has the largest mean, 0.11, of standard error 0.1 / sqrt(4) = 0.05
    assert nearly_most_gain(found, zero_shot, everywhere, 0.5).tolist() == [False, True, True]
    assert nearly_most_gain(found, zero_shot, everywhere, 0.1).tolist() == [False, False, True]
    assert nearly_most_gain(found, zero_shot, everywhere, 2.3).tolist() == [True, True, True]
    among = torch.tensor([True, True, False])
    assert nearly_most_gain(found, zero_shot, among, 0.5).tolist() == [False, True, False]


def test_distance_and_likelihood_by_value() -> None:
    a, b = pair([0.5, 0.9]), pair([0.25, 0.8])
    assert float(distance(a, b)) == pytest.approx((0.25 + 0.1) / 2)
    assert float(distance(a, 3 + a)) == pytest.approx(0, abs=1e-6)
    found = log_likelihood(a, torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([math.log(0.5), math.log(0.9)])


def test_scores_that_are_no_numbers_are_not_taken() -> None:
    def logits(kind: float) -> Tensor:
        return towards(1.0) if kind else torch.full((2, 2), math.nan)

    for zero_shot in (None, towards(0.5)):
        found = grid_search(logits, LABELS, {"kind": [0, 1]}, reference=zero_shot)
        assert found.chosen == {"kind": 1.0}


def test_nothing_to_search() -> None:
    with pytest.raises(ValueError, match="validation images"):
        grid_search(towards, LABELS[:0], {"truth": [1]})
    with pytest.raises(ValueError, match="values for each name"):
        grid_search(towards, LABELS, {"truth": []})


def test_geometric() -> None:
    assert geometric(0.1, 1000, 5) == [0.1, 1.0, 10.0, 100.0, 1000.0]
