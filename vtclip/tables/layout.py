"""Cells to laid-out tables of text, and the lines below them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from vtclip.errors import UserError, unknown_name
from vtclip.tables.cells import Cell, Grid, Row
from vtclip.tables.collect import Run
from vtclip.tables.metrics import METRICS, UNKNOWN
from vtclip.tables.names import AVERAGE, average_name, method_name, shots_name
from vtclip.tables.spread import ci95

Number = TypeVar("Number", int, float)

# what --columns may name, and the title of each
COSTS = {
    "seeds": "seeds",
    "seconds": "seconds per run",
    "parameters": "trainable parameters",
}
DEFAULT_COLUMNS = ("seeds",)
NO_COLUMNS = "none"

ONE_SEED = "†"
ON_TEST_IMAGES = "‡"
MARKS = {
    ONE_SEED: "one seed, so that no deviation is known",
    ON_TEST_IMAGES: "published, and selected on the test images by its authors' code; never bold",
}


@dataclass(frozen=True)
class Entry:
    """The text of one place of a table.

    Attributes:
        text: a value or a name.
        after: what follows it: the deviation, and marks of MARKS.
        best: the best of the methods on this dataset at this number of shots.
    """

    text: str
    after: str = ""
    best: bool = False

    def __str__(self) -> str:
        """Return it as plain text."""
        return self.text + self.after


@dataclass(frozen=True)
class Table:
    """A title, a header, and rows of entries as long as the header."""

    title: str
    header: list[str]
    rows: list[list[Entry]]

    def marks(self) -> dict[str, str]:
        """Return the marks that occur in the table, and what they mean."""
        used = "".join(entry.after for row in self.rows for entry in row)
        return {mark: meaning for mark, meaning in MARKS.items() if mark in used}


@dataclass(frozen=True)
class TableData:
    """The content of a table before it is laid out.

    Attributes:
        runs: the runs of the table.
        cells: of the runs, and of published results where requested.
        datasets: the columns, in order.
        backbone: name of the backbone of all runs, and the start of the digest of its weights.
        kind: what else sets the runs apart, see :class:`vtclip.tables.sections.Section`.
        metric: the keyword of the values.
        interval: "std", or "ci95" for 1.96 std / sqrt(n).
        notes: sentences on what was left out or cannot be compared.
        mixed: differences between the runs that the user accepted with --mix.
        warnings: see :mod:`vtclip.tables.table_warnings`.
    """

    runs: list[Run]
    cells: list[Cell]
    datasets: list[str]
    backbone: str
    kind: str = ""
    metric: str = "accuracy"
    interval: str = "std"
    notes: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def section(self) -> str:
        """What the runs of the table have in common."""
        return f"{self.backbone}, {self.kind}" if self.kind else self.backbone

    def spread(self, cell: Cell) -> float:
        """Return the interval of a cell with values."""
        return ci95(cell.values) if self.interval == "ci95" else cell.std

    def sources(self) -> list[str]:
        """Return the sources of the published results, in the order of their numbers from 1."""
        return list(dict.fromkeys(row.source for row in Grid(self.cells).rows if row.source))


def columns_of(text: str) -> tuple[str, ...]:
    """Return the columns that a list such as "seeds,seconds" names, in the order of COSTS.

    Raises:
        UserError: it names none of COSTS, or "none" beside others.

    >>> columns_of("parameters,seeds")
    ('seeds', 'parameters')
    >>> columns_of("none")
    ()
    """
    names = [name.strip() for name in text.split(",")]
    if names == [NO_COLUMNS]:
        return ()
    for name in names:
        if name not in COSTS:
            raise unknown_name("--columns", name, [*COSTS, NO_COLUMNS])
    if len(set(names)) < len(names):
        raise UserError(f"--columns: {text!r} names a column twice.")
    return tuple(name for name in COSTS if name in names)


def lay_out(data: TableData, rows: str, columns: Sequence[str] = DEFAULT_COLUMNS) -> list[Table]:
    """Return the tables of `data`.

    With one dataset, a single table of methods and shot counts; with several, columns are the
    datasets and their average, and there is one table per shot count.

    Args:
        data: what to show.
        rows: "methods" or "shots": what the rows are; the other is what tables or columns are.
        columns: of COSTS, beside the values.
    """
    grid = Grid(data.cells)
    if len(data.datasets) == 1:
        return [_one_dataset(data, grid, rows, columns)]
    tables = []
    if rows == "methods":
        for shots in grid.shots:
            shown = [row for row in grid.rows if _shown(data, grid, row, [shots])]
            lines = [(_label(data, row), row, shots) for row in shown]
            tables.append(_datasets_table(data, grid, "method", shots_name(shots), lines, columns))
    else:
        for row in grid.rows:
            shots_shown = [s for s in grid.shots if _shown(data, grid, row, [s])]
            if not grid.uses_shots(row):
                lines = [("0", row, 0)]
            else:
                lines = [("all" if s < 0 else str(s), row, s) for s in shots_shown]
            if shots_shown:
                title = _label(data, row)
                tables.append(_datasets_table(data, grid, "shots", title, lines, columns))
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
                where = f"{method_name(row.method)} at {shots_name(shots)}"
                found.append(f"{where}: {', '.join(empty)}")
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


def _one_dataset(data: TableData, grid: Grid, rows: str, columns: Sequence[str]) -> Table:
    (dataset,) = data.datasets
    shots_titles = ["all" if s < 0 else str(s) for s in grid.shots]
    header = ["method", *shots_titles, *(COSTS[name] for name in columns)]
    lines = [
        [
            Entry(_label(data, row)),
            *(_entry(data, grid, row, dataset, shots) for shots in grid.shots),
            *_costs(grid.of(row), columns),
        ]
        for row in grid.rows
        if _shown(data, grid, row, grid.shots)
    ]
    if rows == "shots":
        names, *lines = (list(line) for line in zip(map(Entry, header), *lines, strict=True))
        header = ["shots", *map(str, names[1:])]
    across = (
        "shots (images per class) across" if rows == "methods" else "shots (images per class) down"
    )
    return Table(f"{dataset}, {_what(data)}; {across}", header, lines)


def _datasets_table(
    data: TableData,
    grid: Grid,
    corner: str,
    title: str,
    lines: Sequence[tuple[str, Row, int]],
    columns: Sequence[str],
) -> Table:
    averaged = average_name(data.datasets)
    header = [corner, *data.datasets, averaged, *(COSTS[name] for name in columns)]
    body = []
    for label, row, shots in lines:
        cells = [grid.get(row, dataset, shots) for dataset in data.datasets]
        body.append(
            [
                Entry(label),
                *(_entry(data, grid, row, dataset, shots) for dataset in data.datasets),
                _average_entry(data, grid, row, shots),
                *_costs([cell for cell in cells if cell is not None], columns),
            ]
        )
    return Table(f"{title}, {_what(data)}", header, body)


def _what(data: TableData) -> str:
    interval = "95 % interval" if data.interval == "ci95" else "std"
    values = f"{data.metric} in {METRICS[data.metric].unit}, mean ± {interval} over seeds"
    return f"{values}, backbone {data.section}"


def _shown(data: TableData, grid: Grid, row: Row, shots: Iterable[int]) -> bool:
    columns = [*data.datasets, AVERAGE] if row.source else data.datasets
    return any(grid.get(row, column, s) is not None for column in columns for s in shots)


def _label(data: TableData, row: Row) -> str:
    name = method_name(row.method)
    if not row.source:
        return name
    return f"{name}, published [{data.sources().index(row.source) + 1}]"


def _entry(data: TableData, grid: Grid, row: Row, dataset: str, shots: int) -> Entry:
    cell = grid.get(row, dataset, shots)
    if cell is None:
        return Entry("")
    if not cell.values:
        return Entry(UNKNOWN)
    text = METRICS[data.metric].text
    value, marks = text(cell.mean), _marks(cell)
    rivals = [
        text(other.mean)
        for rival in grid.rows
        if (other := grid.get(rival, dataset, shots)) is not None and _may_be_best(other)
    ]
    best = _may_be_best(cell) and _is_best(data, value, rivals)
    # one value has no spread; without shots the seeds usually agree
    if len(cell.values) == 1 or (cell.shots == 0 and float(text(cell.std)) == 0):
        return Entry(value, marks, best)
    return Entry(value, f" ± {text(data.spread(cell))}{marks}", best)


def _average_entry(data: TableData, grid: Grid, row: Row, shots: int) -> Entry:
    value = grid.average_of(row, data.datasets, shots)
    if value is None:
        return Entry("")
    text = METRICS[data.metric].text
    cells = grid.averaged(row, data.datasets, shots)
    rivals = [
        text(other)
        for rival in grid.rows
        if (other := grid.average_of(rival, data.datasets, shots)) is not None
        and not any(cell.on_test for cell in grid.averaged(rival, data.datasets, shots))
    ]
    marks = "".join(mark for mark in MARKS if any(mark in _marks(cell) for cell in cells))
    best = not any(cell.on_test for cell in cells) and _is_best(data, text(value), rivals)
    return Entry(text(value), marks, best)


def _is_best(data: TableData, value: str, rivals: Sequence[str]) -> bool:
    """Tell whether none of several rivals, itself among them, has a better figure as shown."""
    if len(rivals) < 2:
        return False
    first = min if METRICS[data.metric].lower_is_better else max
    return float(value) == first(map(float, rivals))


def _may_be_best(cell: Cell) -> bool:
    return bool(cell.values) and not cell.on_test


def _marks(cell: Cell) -> str:
    if cell.on_test:
        return ON_TEST_IMAGES
    # without shots nothing is drawn, and one seed is enough
    ours = not cell.row.source and cell.shots != 0
    return ONE_SEED if ours and len(cell.values) == 1 else ""


def _costs(cells: Sequence[Cell], columns: Sequence[str]) -> list[Entry]:
    ours = [cell for cell in cells if not cell.row.source]
    texts = {
        "seeds": _span([len(set(cell.seeds)) for cell in ours], str),
        "seconds": _span([c.seconds for c in ours if c.seconds is not None], seconds_text),
        "parameters": _span(
            [c.parameters for c in ours if c.parameters is not None], parameters_text
        ),
    }
    return [Entry(texts[name]) for name in columns]


def _span(numbers: Sequence[Number], text: Callable[[Number], str]) -> str:
    if not numbers:
        return ""
    low, high = text(min(numbers)), text(max(numbers))
    return low if low == high else f"{low}-{high}"


def _grouped(title: str, cells: Iterable[Cell], key: Callable[[Cell], str]) -> list[str]:
    methods: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        methods[key(cell)].add(method_name(cell.row.method))
    parts = (f"{value} ({', '.join(sorted(names))})" for value, names in sorted(methods.items()))
    return [f"{title}: {'; '.join(parts)}"] if methods else []
