"""What a run gains over zero-shot CLIP, class by class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vtclip.predictions import Judged
from vtclip.report.style import COLUMN, GAIN, LOSS, house_style, new_figure, shortened_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 40


class ClassGain(NamedTuple):
    """A class: its images, and its accuracy in percent before and after."""

    name: str
    images: int
    zero_shot: float
    accuracy: float

    @property
    def gain(self) -> float:
        """In percentage points."""
        return self.accuracy - self.zero_shot


def class_gains(judged: Sequence[Judged]) -> list[ClassGain]:
    """Return the gain of each class, the largest first; of equal ones in the order of labels."""
    rows = defaultdict(list)
    for row in judged:
        rows[row.label].append(row)
    found = [
        ClassGain(
            name,
            len(group),
            100.0 * sum(row.zero_shot == name for row in group) / len(group),
            100.0 * sum(row.predicted == name for row in group) / len(group),
        )
        for name, group in rows.items()
    ]
    return sorted(found, key=lambda gain: -gain.gain)


def draw_class_gains(judged: Sequence[Judged], title: str) -> Figure:
    """Draw the gains as sorted bars; of more than :data:`MOST` classes, both ends.

    Args:
        judged: the predictions of a run.
        title: which run.
    """
    gains = class_gains(judged)
    shown = gains
    if len(gains) > MOST:
        shown = [*gains[: MOST // 2], *gains[-MOST // 2 :]]
        title += f"; the {MOST // 2} best and the {MOST // 2} worst of {len(gains)} classes"
    won, lost = (sum(1 for g in gains if sign * g.gain > 0) for sign in (1, -1))
    with house_style():
        figure = new_figure(COLUMN, 0.9 + 0.115 * len(shown))
        axes = figure.subplots()
        places = range(len(shown), 0, -1)
        colours = [GAIN if gain.gain >= 0 else LOSS for gain in shown]
        axes.barh(places, [gain.gain for gain in shown], color=colours, height=0.75)
        labels = [f"{shortened_name(gain.name)} ({gain.images})" for gain in shown]
        axes.set_yticks(places, labels, fontsize=5)
        axes.set_ylim(0.3, len(shown) + 0.7)
        axes.axvline(0, color="black", linewidth=0.5)
        axes.set_xlabel("gain over zero-shot CLIP in points")
        figure.suptitle(f"{title}\n{won} classes up, {lost} down (number of images)", fontsize=6)
        return figure
