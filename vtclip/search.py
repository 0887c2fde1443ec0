"""The one place that searches hyper-parameters, on validation images alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vtclip.results import Search


@torch.no_grad()
def grid_search(
    logits: Callable[..., Tensor], labels: Tensor, grid: Mapping[str, Sequence[float]]
) -> Search:
    """Try every point of a grid on the validation images and take the most accurate.

    Few validation images leave many points equal. Among those the lowest cross-entropy decides,
    and among points equal in that too the first: values are tried in their order, the last name
    changing fastest.

    Args:
        logits: called with one value a name, returns the logits [N, K] of the N validation images.
        labels: [N], int64, their labels.
        grid: the values to try, by name.

    Returns:
        The search, with the accuracy in percent.

    Raises:
        ValueError: no images, or a name without values.
    """
    if not len(labels) or not all(grid.values()):
        raise ValueError("a search needs validation images, and values for each name")
    best: tuple[int, float] | None = None
    for values in itertools.product(*grid.values()):
        scores = logits(**dict(zip(grid, values, strict=True)))
        correct = int((scores.argmax(dim=1) == labels).sum())
        if best is not None and correct < best[0]:
            continue
        quality = (correct, -F.cross_entropy(scores, labels).item())
        if best is None or quality > best:
            best, chosen = quality, values
    assert best is not None  # no list of values is empty
    return Search(
        split="val",
        grid={name: [float(value) for value in values] for name, values in grid.items()},
        chosen={name: float(value) for name, value in zip(grid, chosen, strict=True)},
        accuracy=100.0 * best[0] / len(labels),
    )


def geometric(low: float, high: float, count: int) -> list[float]:
    """Return `count` values from `low` to `high`, each the same factor above the last.

    They are rounded to four significant digits, so that results show what was tried.
    """
    factor = (high / low) ** (1 / (count - 1))
    return [float(f"{low * factor**step:.4g}") for step in range(count)]
