"""How far probabilities can be believed: ECE, NLL, and the temperature that mends them.

Guo et al., On Calibration of Modern Neural Networks (ICML 2017, arXiv 1706.04599): ECE is equation
3, NLL equation 6, the temperature equation 9.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BINS = 15
# far wider than any scale of logits; a linear probe with a strong penalty has logits near 1e-5
LOWEST_TEMPERATURE = 1e-8
HIGHEST_TEMPERATURE = 1e8
_TOLERANCE = 1e-10
_MOST_STEPS = 100


def log_probabilities(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the logarithms of the probability of the label and of the predicted class.

    Args:
        logits: [B, K], finite; computed with in float64.
        labels: [B], int64.
        temperature: T, above 0; the probabilities are softmax(logits / T).

    Returns:
        [B, 2], float64: of the label, of the largest logit.
    """
    logs = (logits.double() / temperature).log_softmax(dim=1)
    return logs.gather(1, torch.stack([labels, logits.argmax(dim=1)], dim=1))


def expected_calibration_error(confidence: Tensor, correct: Tensor, bins: int = BINS) -> float:
    """Return the ECE over bins of equal width, in [0, 1].

    Args:
        confidence: [N], the probability of the predicted class, in [0, 1].
        correct: [N], bool, whether that class is the label.
        bins: M; bin m covers ((m - 1) / M, m / M].

    Raises:
        ValueError: no images, or two lengths.

    Example:
        >>> expected_calibration_error(torch.tensor([0.75, 0.75]), torch.tensor([True, False]))
        0.25
    """
    if not len(confidence) or confidence.shape != correct.shape:
        raise ValueError("the calibration error needs images, with one probability each")
    confidence = confidence.double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=confidence.device)[1:-1]
    gaps = correct.double() - confidence
    # |B_m| / N |acc(B_m) - conf(B_m)| is the sum of the gaps in the bin over N
    sums = gaps.new_zeros(bins).index_add(0, torch.bucketize(confidence, edges), gaps)
    return min(1.0, float(sums.abs().sum()) / len(confidence))


def fit_temperature(logits: Tensor, labels: Tensor) -> float | None:
    """Return the temperature at which softmax(logits / T) has the lowest NLL.

    The NLL is convex in b = 1 / T. Its slope, the mean of E[z] - z_label under softmax(b z), is
    brought to zero by Newton's method, and by bisection where a step would leave the bracket.

    Args:
        logits: z [N, K] of validation images, finite; computed with in float64.
        labels: [N], int64.

    Returns:
        T, or None where there is none between LOWEST_TEMPERATURE and HIGHEST_TEMPERATURE: where
        every image is classified correctly, the surer, the better, without end; where labels have
        no more than an average logit, the less sure.

    Raises:
        ValueError: no images.
    """
    if not len(labels):
        raise ValueError("a temperature needs validation images")
    z = logits.double()
    # a shift of an image's logits changes no probability
    z = z - z.gather(1, labels[:, None])

    def slopes(b: float) -> tuple[float, float]:
        """Return the first and second derivative of the NLL."""
        p = (b * z).softmax(dim=1)
        mean = (p * z).sum(dim=1)
        return float(mean.mean()), float((p * z.square()).sum(dim=1).sub(mean.square()).mean())

    low, high = 1 / HIGHEST_TEMPERATURE, 1 / LOWEST_TEMPERATURE
    if slopes(low)[0] >= 0 or slopes(high)[0] <= 0:
        return None
    b = 1.0
    for _ in range(_MOST_STEPS):
        slope, curvature = slopes(b)
        low, high = (low, b) if slope > 0 else (b, high)
        newton = b - slope / curvature if curvature > 0 else low
        following = newton if low < newton < high else math.sqrt(low * high)
        if abs(following - b) <= _TOLERANCE * b:
            break
        b = following
    return 1 / following
