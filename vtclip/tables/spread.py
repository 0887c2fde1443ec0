"""Mean and spread over seeds, computed as CoOp's parser does: the population's deviation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return float(np.mean(values))


def std(values: Sequence[float]) -> float:
    """Return the standard deviation of the population (divided by n, not n - 1)."""
    return float(np.std(values))


def ci95(values: Sequence[float]) -> float:
    """Return half the width of the 95 % interval of the mean: 1.96 std / sqrt(n)."""
    return 1.96 * std(values) / float(np.sqrt(len(values)))
