"""Runs to cells: one method on one dataset at one shot count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vtclip.tables.collect import Run
from vtclip.tables.metrics import METRICS
from vtclip.tables.names import AVERAGE, shots_order
from vtclip.tables.spread import mean, std

# the selection rule of published figures that a table must mark
ON_TEST = "test"


@dataclass(frozen=True)
class Row:
    """A row of the table: a method, and the source if its results are published ones."""

    method: str
    source: str = ""


@dataclass(frozen=True)
class Cell:
    """One value of the table: a method on a dataset at one shot count.

    Attributes:
        row: the method.
        dataset: DATASET.NAME.
        shots: images per class, 0 for none, -1 for all.
        values: in the unit of the metric, one per run, in the order of `seeds`; a published result
            has one; empty where a run has no such figure.
        seeds: empty for a published result.
        seconds: mean per run, None where not known.
        parameters: number of trained parameters, None where not known.
        selected_on: the selection rule, "" where not known; "test" of some published results.
        backbone, fingerprint: its name, and the digest of its weights ("" where not known).
    """

    row: Row
    dataset: str
    shots: int
    values: tuple[float, ...]
    seeds: tuple[int, ...] = ()
    seconds: float | None = None
    parameters: int | None = None
    selected_on: str = ""
    backbone: str = ""
    fingerprint: str = ""

    @property
    def on_test(self) -> bool:
        """Whether it is a published figure that was selected on the test images."""
        return bool(self.row.source) and self.selected_on == ON_TEST

    @property
    def mean(self) -> float:
        """Mean over the runs, of a cell with values."""
        return mean(self.values)

    @property
    def std(self) -> float:
        """Standard deviation of the runs as a population, of a cell with values."""
        return std(self.values)


def build_cells(runs: Sequence[Run], keyword: str = "accuracy") -> list[Cell]:
    """Return the cells of `runs` with the values of `keyword` (one of METRICS)."""
    grouped: dict[tuple[str, str, int], list[Run]] = defaultdict(list)
    for run in runs:
        grouped[run.result.method, run.result.dataset, run.result.shots].append(run)
    cells = []
    for (method, dataset, shots), group in grouped.items():
        results = [run.result for run in sorted(group, key=lambda run: run.result.seed)]
        values = [METRICS[keyword].value(r) for r in results]
        known = tuple(value for value in values if value is not None)
        seconds = [r.seconds["total"] for r in results if "total" in r.seconds]
        cells.append(
            Cell(
                row=Row(method),
                dataset=dataset,
                shots=shots,
                # a mean over some of the seeds would be compared with one over all
                values=known if len(known) == len(values) else (),
                seeds=tuple(r.seed for r in results),
                seconds=mean(seconds) if seconds else None,
                parameters=max(r.trainable_parameters for r in results),
                selected_on=results[0].selected_on,
                backbone=results[0].backbone,
                fingerprint=results[0].backbone_fingerprint,
            )
        )
    return cells


class Grid:
    """Cells by row, dataset and shots; a method that used no shots stands at every shot count."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        """Index `cells`; of two at one place the last counts."""
        self._cells = {(cell.row, cell.dataset, cell.shots): cell for cell in cells}
        shots_of: dict[Row, set[int]] = defaultdict(set)
        for row, _, shots in self._cells:
            shots_of[row].add(shots)
        self._shots_of = shots_of
        self._without_shots = {row for row, shots in shots_of.items() if shots == {0}}
        self.rows: list[Row] = sorted(shots_of, key=self._rank)
        own = {shots for row, _, shots in self._cells if not row.source}
        self.shots: list[int] = sorted(own - {0} or own, key=shots_order)

    def get(self, row: Row, dataset: str, shots: int) -> Cell | None:
        """Return the cell to show there; its shots may be 0."""
        found = 0 if row in self._without_shots else shots
        return self._cells.get((row, dataset, found))

    def of(self, row: Row) -> list[Cell]:
        """Return the cells of a row."""
        return [cell for cell in self._cells.values() if cell.row == row]

    def uses_shots(self, row: Row) -> bool:
        """Tell whether a row has cells at any shot count but 0."""
        return row not in self._without_shots

    def average(self, row: Row, datasets: Sequence[str], shots: int) -> float | None:
        """Return the mean of a row over `datasets`, None unless it has values for each."""
        cells = [self.get(row, dataset, shots) for dataset in datasets]
        means = [cell.mean for cell in cells if cell is not None and cell.values]
        return mean(means) if means and len(means) == len(datasets) else None

    def average_of(self, row: Row, datasets: Sequence[str], shots: int) -> float | None:
        """Return the average of a row, where it has none over `datasets` the published one."""
        value = self.average(row, datasets, shots)
        if value is None and (published := self.get(row, AVERAGE, shots)):
            return published.mean
        return value

    def averaged(self, row: Row, datasets: Sequence[str], shots: int) -> list[Cell]:
        """Return the cells that :meth:`average_of` is of."""
        own = self.average(row, datasets, shots) is not None
        places = datasets if own else [AVERAGE]
        return [cell for place in places if (cell := self.get(row, place, shots)) is not None]

    def _rank(self, row: Row) -> tuple[bool, int, str, str]:
        # our own first: zero-shot, then training-free, then trained; published results last
        # and a published one right below its like of ours
        like = Row(row.method)
        is_ours = like in self._shots_of
        trained = any(cell.parameters for cell in self.of(like))
        rank = 0 if like in self._without_shots else 2 if trained else 1
        return not is_ours, rank if is_ours else 0, row.method.casefold(), row.source
