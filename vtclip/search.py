"""The one place that searches hyper-parameters, on validation images alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vtclip.config import Option
from vtclip.results import Search

# the option of every method that searches unless it is told otherwise
SEARCH = Option(True, "choose on validation images; False: nothing is chosen, values are fixed")

# how much of the most certain gain may be given up to stay near the reference, in standard errors;
# docs/selection.md compares values
ERRORS = 0.5


@torch.no_grad()
def grid_search(
    logits: Callable[..., Tensor],
    labels: Tensor,
    grid: Mapping[str, Sequence[float]],
    reference: Tensor | None = None,
) -> Search:
    """Try every point of a grid on validation images; take the modest one of those that are good.

    Few validation images leave many points equally accurate, and the lead of one image is chance.
    So all points within one standard error of the highest accuracy count as accurate
    (:func:`nearly_best`). Of these, all that gain on the reference almost what the best of them
    gains count as good (:func:`nearly_most_gain`), and the one nearest to it is taken
    (:func:`distance`). docs/selection.md compares this with other rules. Of points equal in all
    the first is taken; the last name changes fastest.

    Args:
        logits: called with one value a name, returns the logits [N, K] of the N validation images.
        labels: [N], int64, their labels.
        grid: the values to try, by name.
        reference: logits [N, K] of the same images that hold where validation does not tell, for
            most methods zero-shot CLIP's. Without them the accurate point of the lowest
            cross-entropy is taken.

    Returns:
        The search, with the accuracy in percent.

    Raises:
        ValueError: no images, or a name without values.
    """
    if not len(labels) or not all(grid.values()):
        raise ValueError("a search needs validation images, and values for each name")
    points = list(itertools.product(*grid.values()))
    correct, likelihoods, distances = [], [], []
    for values in points:
        scores = logits(**dict(zip(grid, values, strict=True)))
        correct.append(int((scores.argmax(dim=1) == labels).sum()))
        likelihoods.append(log_likelihood(scores, labels))
        if reference is not None:
            distances.append(distance(scores, reference))
    found = torch.stack(likelihoods)
    good = nearly_best(torch.tensor(correct, device=found.device), len(labels))
    if reference is None:
        cost = -found.mean(dim=1)
    else:
        good = nearly_most_gain(found, log_likelihood(reference, labels), good)
        cost = torch.stack(distances)
    cost = cost.where(good, torch.inf)
    taken = int((cost == cost.min()).nonzero()[0])
    return Search(
        split="val",
        grid={name: [float(value) for value in values] for name, values in grid.items()},
        chosen={name: float(value) for name, value in zip(grid, points[taken], strict=True)},
        accuracy=100.0 * correct[taken] / len(labels),
        tied=correct.count(max(correct)),
    )


def log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logarithm of the probability of the label [N] of logits [N, K], at most 0.

    Where scores are not numbers it is minus infinity.
    """
    found = -F.cross_entropy(logits, labels, reduction="none")
    return found.nan_to_num(nan=-torch.inf, neginf=-torch.inf)


def distance(logits: Tensor, reference: Tensor) -> Tensor:
    """Return the total variation between the probabilities of two logits [N, K].

    It is the mean over images, in [0, 1], a scalar.
    """
    return (logits.softmax(dim=1) - reference.softmax(dim=1)).abs().sum(dim=1).mean() / 2


def nearly_best(correct: Tensor, total: int) -> Tensor:
    """Tell which points lie within one standard error of the most accurate.

    It is the rule of Breiman et al. (Classification and Regression Trees, 1984, section 3.4.3). The
    standard error is `sqrt(N q (1 - q))` images with `q = (correct + 1) / (N + 2)`, Laplace's
    estimate, since all images correct does not mean that none can be wrong.

    Args:
        correct: [P], numbers of correct images.
        total: N, of how many.

    Returns:
        [P], bool, never all False.

    >>> nearly_best(torch.tensor([38, 39, 40]), 41).tolist()
    [False, True, True]
    """
    best = int(correct.max())
    q = (best + 1) / (total + 2)
    return correct >= best - math.sqrt(total * q * (1 - q))


def nearly_most_gain(
    found: Tensor, reference: Tensor, among: Tensor, errors: float = ERRORS
) -> Tensor:
    """Tell which points gain on the reference about as much as the one that gains the most.

    The gain of an image is paired: the logarithm of the probability of its label at the point less
    that of the reference. A point is marked where its mean gain is at least the largest less
    `errors` standard errors of that gain.

    Args:
        found: [P, N], of each point the log-likelihood of each image.
        reference: [N], the same of the reference.
        among: [P], bool, which points to look at.
        errors: at least 0.

    Returns:
        [P], bool, the marked ones of `among`.
    """
    gain = found - reference
    average = gain.mean(dim=1)
    most = int(average.where(among, -torch.inf).argmax())
    error = gain[most].std(correction=0) / math.sqrt(gain.shape[1])
    return among & (average >= average[most] - errors * error)


def geometric(low: float, high: float, count: int) -> list[float]:
    """Return `count` values from `low` to `high`, each the same factor above the last.

    They are rounded to four significant digits, so that results show what was tried.
    """
    factor = (high / low) ** (1 / (count - 1))
    return [float(f"{low * factor**step:.4g}") for step in range(count)]
