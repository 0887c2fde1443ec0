"""A linear probe (CLIP, arXiv 2103.00020, appendix A.3) as CoOp (arXiv 2109.01134) fits its own.

Logistic regressions on global features as they come; the inverse strength C of their L2 penalty is
searched on validation, coarsely and then by bisection (CoOp's lpclip/linear_probe.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MAX_ITERATIONS = 1000

# powers of ten, in the order in which the first of the best counts
COARSE = (6.0, 4.0, 2.0, 0.0, -2.0, -4.0, -6.0)
BISECTIONS = 8


class Bisection(NamedTuple):
    """What :func:`bisect_strength` tried and took.

    Attributes:
        tried: values of C, each once, in the order in which they were tried.
        chosen: the C of the last step.
        accuracy: of `chosen`, as `accuracy` returned it.
    """

    tried: list[float]
    chosen: float
    accuracy: float


def fit(global_features: Tensor, labels: Tensor, C: float) -> tuple[Tensor, Tensor]:
    """Fit a logistic regression by L-BFGS, in double precision.

    Args:
        global_features: g [N, D], any length; the penalty depends on it, since they stay as they
            are.
        labels: [N], int64, every class 0 to K - 1 at least once, K at least 2.
        C: inverse strength of the L2 penalty, as in scikit-learn.

    Returns:
        Weights [K, D] and biases [K], float64, on the CPU: logits are `g W^T + b`.
    """
    # half a second to import, which no other method should wait for
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, solver="lbfgs", max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        # of one image per class, as if the labels were numbers to regress on
        warnings.filterwarnings("ignore", message="The number of unique classes")
        model.fit(global_features.cpu().double().numpy(), labels.cpu().numpy())
    weight, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(weight) == 1:
        # of two classes scikit-learn keeps the difference alone
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return torch.from_numpy(weight), torch.from_numpy(bias)


def bisect_strength(accuracy: Callable[[float], float]) -> Bisection:
    """Search C as CoOp does: around the best coarse value, then by halving the interval.

    The interval reaches from a tenth to ten times the first of the best coarse values. Each of the
    :data:`BISECTIONS` steps compares its two ends and keeps the better half, on the scale of
    log C; of equal ends the lower one, with the stronger penalty, is kept. The better end of the
    last step is taken, even where an earlier value was more accurate.

    Args:
        accuracy: returns the accuracy on validation images for a value of C.

    >>> found = bisect_strength(lambda C: -abs(C - 100))
    >>> len(found.tried), round(found.chosen, 1)
    (15, 100.0)
    """
    found: dict[float, float] = {}

    def at(power: float) -> float:
        C = 10.0**power
        if C not in found:
            found[C] = accuracy(C)
        return found[C]

    # of equal values max takes the first
    peak = max(COARSE, key=at)
    left, right = peak - 1, peak + 1
    for _ in range(BISECTIONS):
        middle = (left + right) / 2
        if at(left) < at(right):
            best, left = right, middle
        else:
            best, right = left, middle
    return Bisection(list(found), 10.0**best, at(best))
