"""Cells to laid-out tables of text, and the lines below them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from vtclip.tables.cells import Cell, Grid, Row
from vtclip.tables.metrics import METRICS, UNKNOWN
from vtclip.tables.names import AVERAGE, average_name, shots_name
from vtclip.tables.spread import ci95

Number = TypeVar("Number", int, float)

COSTS = ("seeds", "seconds per run", "trainable parameters")


@dataclass(frozen=True)
class Table:
    """A title, a header, and rows of text as long as the header."""

    title: str
    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class TableData:
    """The content of a table before it is laid out.

    Attributes:
        cells: of the runs, and of published results where requested.
        datasets: the columns, in order.
        backbone: name of the backbone of all runs, and the start of the digest of its weights.
        metric: the keyword of the values.
        interval: "std", or "ci95" for 1.96 std / sqrt(n).
        notes: sentences on what was left out or cannot be compared.
        mixed: differences between the runs that the user accepted with --mix.
        warnings: see :mod:`vtclip.tables.table_warnings`.
    """

    cells: list[Cell]
    datasets: list[str]
    backbone: str
    metric: str = "accuracy"
    interval: str = "std"
    notes: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def spread(self, cell: Cell) -> float:
        """Return the interval of a cell with values."""
        return ci95(cell.values) if self.interval == "ci95" else cell.std

    def sources(self) -> list[str]:
        """Return the sources of the published results, in the order of their numbers from 1."""
        return list(dict.fromkeys(row.source for row in Grid(self.cells).rows if row.source))


def lay_out(data: TableData, rows: str) -> list[Table]:
    """Return the tables of `data`.

    With one dataset, a single table of methods and shot counts; with several, columns are the
    datasets and their average, and there is one table per shot count.

    Args:
        data: what to show.
        rows: "methods" or "shots": what the rows are; the other is what tables or columns are.
    """
    grid = Grid(data.cells)
    if len(data.datasets) == 1:
        return [_one_dataset(data, grid, rows)]
    tables = []
    if rows == "methods":
        for shots in grid.shots:
            shown = [row for row in grid.rows if _shown(data, grid, row, [shots])]
            lines = [(_label(data, row), row, shots) for row in shown]
            tables.append(_datasets_table(data, grid, "method", shots_name(shots), lines))
    else:
        for row in grid.rows:
            shots_shown = [s for s in grid.shots if _shown(data, grid, row, [s])]
            if not grid.uses_shots(row):
                lines = [("0", row, 0)]
            else:
                lines = [("all" if s < 0 else str(s), row, s) for s in shots_shown]
            if shots_shown:
                tables.append(_datasets_table(data, grid, "shots", _label(data, row), lines))
    return tables


def footnotes(data: TableData) -> list[str]:
    """Return the lines below the tables: sources, notes, missing cells, warnings."""
    found = []
    ours = [cell for cell in data.cells if not cell.row.source]
    found += _grouped("selected on", ours, lambda cell: cell.selected_on)
    found += [f"[{i}] published, not re-run: {s}" for i, s in enumerate(data.sources(), start=1)]
    found += [f"note: {sentence}" for sentence in data.notes]
    found += [f"missing: {sentence}" for sentence in missing(data)]
    found += [f"mixed: {sentence}" for sentence in data.mixed]
    found += [f"warning: {sentence}" for sentence in data.warnings]
    return found


def missing(data: TableData) -> list[str]:
    """Return the cells without any run, one line per method and shot count."""
    grid = Grid(cell for cell in data.cells if not cell.row.source)
    found = []
    for row in grid.rows:
        for shots in grid.shots if grid.uses_shots(row) else [0]:
            empty = [d for d in data.datasets if grid.get(row, d, shots) is None]
            if empty:
                found.append(f"{row.method} at {shots_name(shots)}: {', '.join(empty)}")
    return found


def parameters_text(number: int) -> str:
    """Return a number of parameters with three digits: 512, 12.3k, 1.58M, 2.1G."""
    value, unit = float(number), ""
    for unit in ("", "k", "M", "G"):
        if value < 999.5 or unit == "G":
            break
        value /= 1000
    return f"{value:.3g}{unit}" if unit else str(number)


def seconds_text(seconds: float) -> str:
    """Return seconds with two digits below ten, else as a whole number."""
    return f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}"


def _one_dataset(data: TableData, grid: Grid, rows: str) -> Table:
    (dataset,) = data.datasets
    header = ["method", *("all" if s < 0 else str(s) for s in grid.shots), *COSTS]
    lines = [
        [
            _label(data, row),
            *(_text(data, grid.get(row, dataset, shots)) for shots in grid.shots),
            *_costs(grid.of(row)),
        ]
        for row in grid.rows
        if _shown(data, grid, row, grid.shots)
    ]
    if rows == "shots":
        (_, *names), *lines = (list(line) for line in zip(header, *lines, strict=True))
        header = ["shots", *names]
    columns = (
        "shots (images per class) across" if rows == "methods" else "shots (images per class) down"
    )
    return Table(f"{dataset}, {_what(data)}; {columns}", header, lines)


def _datasets_table(
    data: TableData, grid: Grid, corner: str, title: str, lines: Sequence[tuple[str, Row, int]]
) -> Table:
    header = [corner, *data.datasets, average_name(data.datasets), *COSTS]
    body = []
    for label, row, shots in lines:
        cells = [grid.get(row, dataset, shots) for dataset in data.datasets]
        average = grid.average(row, data.datasets, shots)
        if average is None and (published := grid.get(row, AVERAGE, shots)):
            average = published.mean
        body.append(
            [
                label,
                *(_text(data, cell) for cell in cells),
                "" if average is None else METRICS[data.metric].text(average),
                *_costs([cell for cell in cells if cell is not None]),
            ]
        )
    return Table(f"{title}, {_what(data)}", header, body)


def _what(data: TableData) -> str:
    interval = "95 % interval" if data.interval == "ci95" else "std"
    values = f"{data.metric} in {METRICS[data.metric].unit}, mean ± {interval} over seeds"
    return f"{values}, backbone {data.backbone}"


def _shown(data: TableData, grid: Grid, row: Row, shots: Iterable[int]) -> bool:
    columns = [*data.datasets, AVERAGE] if row.source else data.datasets
    return any(grid.get(row, column, s) is not None for column in columns for s in shots)


def _label(data: TableData, row: Row) -> str:
    if not row.source:
        return row.method
    return f"{row.method}, published [{data.sources().index(row.source) + 1}]"


def _text(data: TableData, cell: Cell | None) -> str:
    if cell is None:
        return ""
    if not cell.values:
        return UNKNOWN
    text = METRICS[data.metric].text
    # one value has no spread; without shots the seeds usually agree
    if len(cell.values) == 1 or (cell.shots == 0 and float(text(cell.std)) == 0):
        return text(cell.mean)
    return f"{text(cell.mean)} ± {text(data.spread(cell))}"


def _costs(cells: Sequence[Cell]) -> list[str]:
    ours = [cell for cell in cells if not cell.row.source]
    return [
        _span([len(set(cell.seeds)) for cell in ours], str),
        _span([cell.seconds for cell in ours if cell.seconds is not None], seconds_text),
        _span([cell.parameters for cell in ours if cell.parameters is not None], parameters_text),
    ]


def _span(numbers: Sequence[Number], text: Callable[[Number], str]) -> str:
    if not numbers:
        return ""
    low, high = text(min(numbers)), text(max(numbers))
    return low if low == high else f"{low}-{high}"


def _grouped(title: str, cells: Iterable[Cell], key: Callable[[Cell], str]) -> list[str]:
    methods: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        methods[key(cell)].add(cell.row.method)
    parts = (f"{value} ({', '.join(sorted(names))})" for value, names in sorted(methods.items()))
    return [f"{title}: {'; '.join(parts)}"] if methods else []
