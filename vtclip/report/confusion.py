"""Which classes a run takes for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vtclip.predictions import Judged
from vtclip.report.style import COLOURS, COLUMN, PAGE, house_style, new_figure, shortened_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 30
WITH_NUMBERS = 12


def confusion(judged: Sequence[Judged], names: Sequence[str]) -> NDArray[np.int64]:
    """Return how many images of class i were predicted as class j, [K, K].

    Args:
        judged: the predictions of a run.
        names: K classes; images with a label or a prediction beside them are left out.
    """
    place = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for row in judged:
        if row.label in place and row.predicted in place:
            counts[place[row.label], place[row.predicted]] += 1
    return counts


def most_confused(judged: Sequence[Judged], most: int = MOST_CLASSES) -> list[str]:
    """Return the classes with the most errors, true or predicted, in the order of labels."""
    order = list(dict.fromkeys(row.label for row in judged))
    order += [name for name in dict.fromkeys(r.predicted for r in judged) if name not in order]
    if len(order) <= most:
        return order
    errors = Counter[str]()
    for row in judged:
        if row.predicted != row.label:
            errors.update((row.label, row.predicted))
    kept = {name for name, _ in errors.most_common(most)}
    return [name for name in order if name in kept]


def draw_confusion(judged: Sequence[Judged], title: str) -> Figure:
    """Draw the confusion matrix, each row in percent of the images of its class.

    Of more than :data:`MOST_CLASSES` classes those with the most errors are shown.

    Args:
        judged: the predictions of a run.
        title: which run.
    """
    names = most_confused(judged)
    counts = confusion(judged, names)
    images = Counter(row.label for row in judged)
    totals = np.array([max(images[name], 1) for name in names])
    shares = 100.0 * counts / totals[:, None]
    of_all = len({row.label for row in judged} | {row.predicted for row in judged})
    with house_style():
        side = COLUMN + 0.18 * max(0, len(names) - WITH_NUMBERS)
        figure = new_figure(min(PAGE, side), min(PAGE, 0.9 * side))
        axes = figure.subplots()
        drawn = axes.imshow(shares, cmap=COLOURS, vmin=0, vmax=100)
        ticks = range(len(names))
        shown = [shortened_name(name, 18) for name in names]
        axes.set_xticks(ticks, shown, rotation=90)
        axes.set_yticks(ticks, shown)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true class")
        part = (
            f"; the {len(names)} of {of_all} classes with most errors"
            if len(names) < of_all
            else ""
        )
        axes.set_title(f"{title}{part}")
        if len(names) <= WITH_NUMBERS:
            for (row, column), share in np.ndenumerate(shares):
                if counts[row, column]:
                    colour = "black" if share > 55 else "white"
                    axes.text(
                        column,
                        row,
                        f"{share:.0f}",
                        ha="center",
                        va="center",
                        color=colour,
                        fontsize=5,
                    )
        bar = figure.colorbar(drawn, shrink=0.7)
        bar.set_label("% of the images of the true class")
        return figure
