"""How far the probabilities of a run can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from vtclip.calibration import BINS, expected_calibration_error
from vtclip.predictions import Judged
from vtclip.report.style import COLUMN, GAIN, LOSS, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Bin(NamedTuple):
    """The images whose confidence is in one interval.

    Attributes:
        low, high: bounds of the confidence; the upper one is included.
        images: how many.
        confidence, accuracy: their means, 0 to 1; 0 without images.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def reliability_bins(judged: Sequence[Judged], bins: int = BINS) -> list[Bin]:
    """Return the bins of equal width that the ECE is made of (Guo et al., arXiv 1706.04599)."""
    found = []
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [
            row
            for row in judged
            if low < row.predicted_probability <= high
            or (number == 0 and row.predicted_probability <= low)
        ]
        n = len(inside)
        confidence = sum(row.predicted_probability for row in inside) / n if n else 0.0
        accuracy = sum(row.predicted == row.label for row in inside) / n if n else 0.0
        found.append(Bin(low, high, n, confidence, accuracy))
    return found


def draw_reliability(judged: Sequence[Judged], title: str) -> Figure:
    """Draw accuracy against confidence, and how many images each bin has.

    Args:
        judged: the predictions of a run.
        title: which run.
    """
    bins = reliability_bins(judged)
    confidence = torch.tensor([row.predicted_probability for row in judged], dtype=torch.float64)
    correct = torch.tensor([row.predicted == row.label for row in judged])
    ece = 100.0 * expected_calibration_error(confidence.clamp(0, 1), correct)
    with house_style():
        figure = new_figure(COLUMN, 3.4)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        filled = [b for b in bins if b.images]
        at = [(b.low + b.high) / 2 for b in filled]
        width = 0.9 / len(bins)
        upper.bar(at, [b.accuracy for b in filled], width, color=GAIN, label="accuracy")
        upper.plot(
            [b.confidence for b in filled],
            [b.accuracy for b in filled],
            "o",
            color="black",
            clip_on=False,
            label="mean confidence of the bin",
        )
        upper.plot([0, 1], [0, 1], "--", color="grey", label="perfectly calibrated")
        upper.set_ylabel("accuracy")
        upper.set_ylim(0, 1)
        upper.set_xlim(0, 1)
        upper.legend(loc="upper left", framealpha=0.9)
        upper.set_title(f"{title}\nECE {ece:.2f} % ({len(bins)} bins), {len(judged):,} images")
        lower.bar(at, [b.images for b in filled], width, color=LOSS)
        lower.set_ylabel("images")
        lower.set_xlabel("confidence")
        return figure
