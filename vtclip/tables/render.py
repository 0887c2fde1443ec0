"""Tables and cells as text: for a terminal, Markdown, LaTeX, CSV (one line per cell) or JSON."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from tabulate import tabulate

from vtclip.tables.cells import ON_TEST, Cell, Grid, Row
from vtclip.tables.layout import (
    COSTS,
    DEFAULT_COLUMNS,
    Entry,
    Table,
    TableData,
    footnotes,
    lay_out,
    missing,
)
from vtclip.tables.names import average_name, shots_order

FORMATS = ("text", "markdown", "latex", "csv", "json")
PUBLISHED = "published, not re-run"
KINDS_OF_LINES = ("note: ", "missing: ", "mixed: ", "warning: ")
BOLD = "bold: the best of the methods on that dataset at that number of shots, to the digits shown"

LATEX_ESCAPES = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
}


def render(
    data: TableData, output_format: str, rows: str, columns: Sequence[str] = DEFAULT_COLUMNS
) -> str:
    """Return :func:`render_all` of one."""
    return render_all([data], output_format, rows, columns)


def render_all(
    data: Sequence[TableData],
    output_format: str,
    rows: str,
    columns: Sequence[str] = DEFAULT_COLUMNS,
) -> str:
    """Return tables with their notes, without a newline at the end.

    Args:
        data: what to show: of each section, one per metric.
        output_format: one of FORMATS; text, markdown and latex are laid out, with notes below; csv
            and json hold one record per cell in full precision.
        rows: "methods" or "shots"; orders the records of csv and json likewise.
        columns: of COSTS, beside the values; csv and json always have all of them.
    """
    if output_format == "csv":
        return _csv([record for part in data for record in records(part, rows)])
    if output_format == "json":
        return _json(data, rows)
    laid_out = {"text": _text, "markdown": _markdown, "latex": _latex}[output_format]
    shared = _shared_lines(data, footnotes)
    labels: set[str] = set()
    parts = []
    sections = _sections(data)
    for section in sections:
        tables = [table for part in section for table in lay_out(part, rows, columns)]
        below = [line for line in _each_once(section, footnotes) if line not in shared]
        last = section is sections[-1]
        parts.append(laid_out(tables, below + shared if last else below, labels))
    return "\n\n".join(parts)


def all_footnotes(data: Sequence[TableData]) -> list[str]:
    """Return the lines below all tables, each once, with the section where there are several."""
    return _told_apart(data, footnotes)


def _sections(data: Sequence[TableData]) -> list[list[TableData]]:
    return [list(group) for _, group in itertools.groupby(data, lambda part: part.section)]


def _shared_lines(
    data: Sequence[TableData], lines: Callable[[TableData], Sequence[str]]
) -> list[str]:
    """Return the lines that each of several sections has."""
    first, *others = (_each_once(section, lines) for section in _sections(data))
    return [line for line in first if all(line in other for other in others)] if others else []


def _told_apart(
    data: Sequence[TableData], lines: Callable[[TableData], Sequence[str]]
) -> list[str]:
    sections = _sections(data)
    if len(sections) == 1:
        return _each_once(data, lines)
    shared = _shared_lines(data, lines)
    own = [
        _with_section(line, section[0].section)
        for section in sections
        for line in _each_once(section, lines)
        if line not in shared
    ]
    return own + shared


def _with_section(line: str, section: str) -> str:
    """Put the section after the word that says what kind of line it is."""
    word = next((word for word in KINDS_OF_LINES if line.startswith(word)), "")
    return f"{word}{section}: {line.removeprefix(word)}"


def _each_once(data: Sequence[TableData], lines: Callable[[TableData], Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(line for part in data for line in lines(part)))


def records(data: TableData, rows: str) -> list[dict[str, Any]]:
    """Return a flat record for each cell and average, all of them with the same keys."""
    grid = Grid(data.cells)
    found = []
    for row in grid.rows:
        cells = sorted(grid.of(row), key=lambda c: shots_order(c.shots))
        shots = [
            s for s in dict.fromkeys(c.shots for c in cells) if not row.source or _used(grid, s)
        ]
        for s in shots:
            by_dataset = {c.dataset: c for c in cells if c.shots == s}
            shown = [by_dataset[d] for d in data.datasets if d in by_dataset]
            found += [_record(data, cell) for cell in shown]
            found += _average_records(data, grid, row, s)
    if rows == "methods":
        found.sort(key=lambda record: shots_order(record["shots"]))
    return found


def _used(grid: Grid, shots: int) -> bool:
    return shots == 0 or shots in grid.shots


def _record(data: TableData, cell: Cell) -> dict[str, Any]:
    return {
        "method": cell.row.method,
        "backbone": cell.backbone,
        "backbone_fingerprint": cell.fingerprint,
        "kind": data.kind,
        "dataset": cell.dataset,
        "shots": cell.shots,
        "metric": data.metric,
        "mean": cell.mean if cell.values else None,
        data.interval: data.spread(cell) if cell.seeds and cell.values else None,
        "seeds": list(cell.seeds),
        "values": list(cell.values),
        "seconds": cell.seconds,
        "trainable_parameters": cell.parameters,
        "selected_on": cell.selected_on,
        "origin": PUBLISHED if cell.row.source else "run",
        "source": cell.row.source,
    }


def _average_records(data: TableData, grid: Grid, row: Row, shots: int) -> list[dict[str, Any]]:
    if len(data.datasets) == 1:
        return []
    value = grid.average_of(row, data.datasets, shots)
    if value is None:
        return []
    like = grid.of(row)[0]
    name = average_name(data.datasets)
    on_test = any(cell.on_test for cell in grid.averaged(row, data.datasets, shots))
    cell = Cell(
        row,
        name,
        shots,
        (value,),
        selected_on=ON_TEST if on_test else "",
        backbone=like.backbone,
        fingerprint=like.fingerprint,
    )
    return [{**_record(data, cell), "values": []}]


def _csv(lines: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    for line in lines:
        flat = {k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in line.items()}
        writer.writerow(flat)
    return out.getvalue().rstrip("\n")


def _json(data: Sequence[TableData], rows: str) -> str:
    value = {
        "backbone": ", ".join(dict.fromkeys(part.backbone for part in data)),
        "cells": [record for part in data for record in records(part, rows)],
        "missing": _told_apart(data, missing),
        "notes": _told_apart(data, lambda part: part.notes),
        "mixed": _told_apart(data, lambda part: part.mixed),
        "warnings": _told_apart(data, lambda part: part.warnings),
    }
    return json.dumps(value, indent=2, ensure_ascii=False)


def _text(tables: list[Table], below: list[str], _labels: set[str]) -> str:
    parts = [f"{table.title}\n\n{_tabulated(_narrowed(table), 'simple')}" for table in tables]
    lines = [*_meanings(tables), *below]
    return "\n\n".join([*parts, "\n".join(lines)]) if lines else "\n\n".join(parts)


def _markdown(tables: list[Table], below: list[str], _labels: set[str]) -> str:
    parts = [f"**{_piped(t.title)}**\n\n{_tabulated(_escaped(t), 'pipe')}" for t in tables]
    lines = [*_meanings(tables), *below]
    if any(entry.best for table in tables for row in table.rows for entry in row):
        lines.insert(0, BOLD)
    if lines:
        parts.append("\n".join(f"- {_piped(line)}" for line in lines))
    return "\n\n".join(parts)


def _meanings(tables: Sequence[Table]) -> list[str]:
    found = {mark: meaning for table in tables for mark, meaning in table.marks().items()}
    return [f"{mark} {meaning}" for mark, meaning in found.items()]


def _latex(tables: list[Table], below: list[str], labels: set[str]) -> str:
    parts: list[str] = []
    for table in tables:
        label = _latex_label(table.title, labels)
        labels.add(label)
        notes = [_latex_text(f"{mark} {meaning}.") for mark, meaning in table.marks().items()]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    rf"\caption{{{_latex_text(table.title)}}}",
                    rf"\label{{{label}}}",
                    *_tabular(table),
                    *([rf"\par\smallskip{{\footnotesize {' '.join(notes)}}}"] if notes else []),
                    r"\end{table}",
                ]
            )
        )
    if below:
        parts.append("\n".join(f"% {line}" for line in below))
    return "\n\n".join(parts)


def _tabular(table: Table) -> list[str]:
    """Return the lines of a table in the style of the package booktabs."""
    header = [_latex_text(name) for name in table.header]
    rows = [[_latex_entry(entry) for entry in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(texts: Sequence[str]) -> str:
        first, *others = (t.rjust(w) for t, w in zip(texts, widths, strict=True))
        return f"{' & '.join([first.strip().ljust(widths[0]), *others])} \\\\"

    return [
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        line(header),
        r"\midrule",
        *map(line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _latex_entry(entry: Entry) -> str:
    text = _latex_text(entry.text)
    return (rf"\textbf{{{text}}}" if entry.best else text) + _latex_text(entry.after)


def _latex_text(text: str) -> str:
    return "".join(LATEX_ESCAPES.get(c, c) for c in text)


def _latex_label(title: str, used: Collection[str]) -> str:
    """Return "tab:" and the title up to its first comma, in letters that a label may hold.

    Where that is used already, a number follows.
    """
    label = "tab:" + "-".join(re.findall(r"[a-z0-9]+", title.split(",")[0].lower()))
    numbered = (f"{label}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([label], numbered) if name not in used)


def _tabulated(table: Table, style: str) -> str:
    # the cells are text already: tabulate must not parse and round numbers again
    return tabulate(
        [[str(entry) for entry in row] for row in table.rows],
        headers=table.header,
        tablefmt=style,
        disable_numparse=True,
        colalign=["left", *["right"] * (len(table.header) - 1)] if table.rows else None,
    )


def _narrowed(table: Table) -> Table:
    titles = COSTS.values()
    header = [name.replace(" ", "\n", 1) if name in titles else name for name in table.header]
    return Table(table.title, header, table.rows)


def _escaped(table: Table) -> Table:
    return Table(
        table.title,
        [_piped(name) for name in table.header],
        [[_markdown_entry(entry) for entry in row] for row in table.rows],
    )


def _markdown_entry(entry: Entry) -> Entry:
    text = _piped(entry.text)
    return Entry(f"**{text}**" if entry.best else text, entry.after)


def _piped(text: str) -> str:
    return text.replace("|", r"\|")
