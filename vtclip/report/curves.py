"""The figure of the field: accuracy against shots, one panel per dataset, their average first."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vtclip.report.style import COLUMN, MARKERS, PAGE, PALETTE, house_style, new_figure
from vtclip.tables.cells import Cell, Grid, Row
from vtclip.tables.collect import Run
from vtclip.tables.layout import TableData
from vtclip.tables.metrics import METRICS
from vtclip.tables.names import AVERAGE, average_name, method_name
from vtclip.tables.spread import std

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IN_A_ROW = 4
ZERO_SHOT = "zero-shot CLIP"


@dataclass(frozen=True)
class Curve:
    """The values of a method in a panel.

    Attributes:
        row: the method; a published one has a source.
        shots: of each point; 0 for a method that uses none.
        means, deviations: of each point; a deviation is None where it is not known.
    """

    row: Row
    shots: list[int]
    means: list[float]
    deviations: list[float | None]


def zero_shot_cells(runs: Sequence[Run]) -> list[Cell]:
    """Return zero-shot CLIP's accuracy on each dataset, as the runs found it beside their own.

    Where their prompts differ, so that it is not one figure, there is none.
    """
    found: dict[str, set[float]] = defaultdict(set)
    for run in runs:
        found[run.result.dataset].add(run.result.zero_shot_accuracy)
    return [
        Cell(Row(ZERO_SHOT), dataset, 0, tuple(values))
        for dataset, values in found.items()
        if len(values) == 1
    ]


def curves_of(data: TableData) -> dict[str, list[Curve]]:
    """Return the curves of each panel by its title; the average comes first if there is one.

    The deviation of an average is that of the averages of each seed, where all datasets have the
    same seeds.
    """
    grid = Grid(data.cells)
    panels: dict[str, list[Curve]] = {}
    if len(data.datasets) > 1:
        panels[average_name(data.datasets)] = [
            curve for row in grid.rows if (curve := _average(grid, row, data.datasets)).shots
        ]
    for dataset in data.datasets:
        found = [_curve(row, grid.of(row), dataset) for row in grid.rows]
        panels[dataset] = [curve for curve in found if curve.shots]
    return panels


def draw_curves(data: TableData) -> Figure:
    """Draw the curves: ours solid with their deviation, published ones dashed.

    A method without shots is a star at 0.

    Args:
        data: of one metric.
    """
    panels = curves_of(data)
    shots = sorted({s for curves in panels.values() for c in curves for s in c.shots if s > 0})
    rows = list(dict.fromkeys(curve.row for curves in panels.values() for curve in curves))
    looks = {
        row: (PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, row in enumerate(rows)
    }
    in_a_row = min(IN_A_ROW, len(panels))
    lines = math.ceil(len(panels) / in_a_row)
    width = PAGE if in_a_row > 1 else COLUMN
    with house_style():
        legend_height = 0.14 * math.ceil(len(rows) / (4 if in_a_row > 1 else 2)) + 0.1
        figure = new_figure(width, (1.7 if in_a_row > 1 else 2.4) * lines + legend_height)
        grid = figure.subplots(lines, in_a_row, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
            axes.set_title(title, fontweight="bold" if title.startswith(AVERAGE) else "normal")
            for curve in curves:
                _draw(axes, curve, shots, *looks[curve.row])
            axes.set_xticks(range(len(shots) + 1), ["0", *map(str, shots)])
            axes.grid(alpha=0.25, linewidth=0.4)
        for axes in grid.flat[max(0, len(panels) - in_a_row) : len(panels)]:
            axes.set_xlabel("shots per class")
        figure.supylabel(METRICS[data.metric].title, fontsize=7)
        handles: dict[Any, Any] = {}
        for axes in grid.flat:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        columns = 4 if in_a_row > 1 else 2
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
        )
        return figure


def _curve(row: Row, cells: Sequence[Cell], dataset: str) -> Curve:
    found = sorted(
        (c for c in cells if c.dataset == dataset and c.values and c.shots >= 0),
        key=lambda cell: cell.shots,
    )
    return Curve(
        row,
        [cell.shots for cell in found],
        [cell.mean for cell in found],
        [cell.std if len(cell.values) > 1 else None for cell in found],
    )


def _average(grid: Grid, row: Row, datasets: Sequence[str]) -> Curve:
    """Return the average of a row, at the shots where every dataset has a value."""
    curve = Curve(row, [], [], [])
    for shots in grid.shots if grid.uses_shots(row) else [0]:
        value = grid.average(row, datasets, shots)
        published = grid.get(row, AVERAGE, shots)
        if value is None and published is None:
            continue
        cells = [cell for d in datasets if (cell := grid.get(row, d, shots)) is not None]
        seeds = {cell.seeds for cell in cells}
        deviation = None
        if value is not None and len(seeds) == 1 and len(cells[0].values) > 1:
            per_seed = zip(*(cell.values for cell in cells), strict=True)
            deviation = std([sum(values) / len(values) for values in per_seed])
        curve.shots.append(shots)
        curve.means.append(published.mean if value is None and published else value or 0.0)
        curve.deviations.append(deviation)
    return curve


def _draw(axes: Axes, curve: Curve, shots: Sequence[int], colour: str, marker: str) -> None:
    name = method_name(curve.row.method)
    label = f"{name} (published)" if curve.row.source else name
    places = [0 if s == 0 else 1 + shots.index(s) for s in curve.shots]
    if set(curve.shots) == {0}:
        axes.plot(places, curve.means, "*", color=colour, markersize=7, label=label, clip_on=False)
        return
    style = "--" if curve.row.source else "-"
    axes.plot(places, curve.means, style, marker=marker, color=colour, label=label)
    known = [i for i, deviation in enumerate(curve.deviations) if deviation is not None]
    if known:
        at = [places[i] for i in known]
        low = [curve.means[i] - (curve.deviations[i] or 0) for i in known]
        high = [curve.means[i] + (curve.deviations[i] or 0) for i in known]
        axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
