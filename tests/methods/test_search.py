from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vtclip.search import geometric, grid_search

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


def test_nothing_to_search() -> None:
    with pytest.raises(ValueError, match="validation images"):
        grid_search(towards, LABELS[:0], {"truth": [1]})
    with pytest.raises(ValueError, match="values for each name"):
        grid_search(towards, LABELS, {"truth": []})


def test_geometric() -> None:
    assert geometric(0.1, 1000, 5) == [0.1, 1.0, 10.0, 100.0, 1000.0]
