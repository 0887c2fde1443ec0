"""The field's table of all results below a folder: methods, datasets, shots, and what to doubt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from vtclip.errors import UserError, unknown_name
from vtclip.results import RESULT_FILE
from vtclip.tables.cells import Cell, Grid, Row, build_cells
from vtclip.tables.collect import Collection, Run, collect, without_repeats
from vtclip.tables.comparability import differences
from vtclip.tables.layout import TableData
from vtclip.tables.metrics import METRICS, why_unknown
from vtclip.tables.names import dataset_order
from vtclip.tables.published import (
    PublishedResult,
    Wanted,
    comparable_datasets,
    one_source_each,
    published_cells,
    wanted_figures,
)
from vtclip.tables.sections import Section, sections_of
from vtclip.tables.table_warnings import table_warnings


def load_results(
    root: Path,
    keyword: str = "accuracy",
    interval: str = "std",
    published: Wanted | None = None,
    mix: bool = False,
) -> TableData:
    """Return :func:`load_tables` of one keyword, where that is one table.

    Raises:
        UserError: as there, or the runs make several tables.
    """
    first, *others = load_tables(root, [keyword], interval, published, mix)
    if others:
        sections = "; ".join(data.section for data in (first, *others))
        raise UserError(
            f"{root}: holds runs of several kinds ({sections}); give a folder with runs of one."
        )
    return first


def load_tables(
    root: Path,
    keywords: Sequence[str],
    interval: str = "std",
    published: Wanted | None = None,
    mix: bool = False,
) -> list[TableData]:
    """Return :func:`tables_of` the results below `root`.

    Args:
        root: a folder with result.json files anywhere below it.
        keywords, interval, published, mix: see there.

    Raises:
        UserError: there is no result that can be read, or as there.
    """
    _check_keywords(keywords, published)
    return tables_of(collect(root), keywords, interval, published, mix)


def tables_of(
    found: Collection,
    keywords: Sequence[str],
    interval: str = "std",
    published: Wanted | None = None,
    mix: bool = False,
) -> list[TableData]:
    """Return the tables of results, with everything that they must say.

    There is one table per keyword for each section (see :mod:`vtclip.tables.sections`): the
    keywords of the first, then those of the next.

    Args:
        found: the results.
        keywords: of METRICS.
        interval: "std" or "ci95".
        published: the published results to put beside, None for none.
        mix: make a table of runs that differ in what must agree, and list the differences below it.

    Raises:
        UserError: a keyword is unknown, or runs of a section differ (see
            :mod:`vtclip.tables.comparability`) and `mix` is False.
    """
    _check_keywords(keywords, published)
    figures = [] if published is None else wanted_figures(published)
    counted, repeats = without_repeats(found.runs)
    sections = sections_of(counted)
    mixed = {section: differences(runs) for section, runs in sections}
    if not mix and (all_mixed := [sentence for some in mixed.values() for sentence in some]):
        raise _refusal(all_mixed)
    collected = _collection_notes(repeats, found)
    tables = []
    for section, runs in sections:
        general_notes = _unofficial(runs) + collected
        for keyword in keywords:
            cells = build_cells(runs, keyword)
            warnings = [f"left out, {sentence}" for sentence in found.damaged]
            warnings += table_warnings(runs, cells, keyword)
            notes = general_notes + _without_column(runs, Grid(cells))
            notes += _without_value(runs, keyword)
            if published is not None:
                beside, notes_beside = _published_beside(figures, section, runs, published)
                cells += beside
                notes += notes_beside
            tables.append(
                TableData(
                    runs=runs,
                    cells=cells,
                    datasets=dataset_order({run.result.dataset for run in runs}),
                    backbone=f"{section.backbone} ({section.fingerprint})",
                    kind=section.kind,
                    metric=keyword,
                    interval=interval,
                    notes=notes,
                    mixed=mixed[section],
                    warnings=warnings,
                )
            )
    return tables


def _check_keywords(keywords: Sequence[str], published: Wanted | None) -> None:
    """Refuse keywords, before any result is read.

    Raises:
        UserError: one is unknown, or published results have no such figure.
    """
    for keyword in keywords:
        if keyword not in METRICS:
            raise unknown_name("--keyword of a table", keyword, METRICS)
    if published is not None and list(keywords) != ["accuracy"]:
        raise UserError("--published: published results are accuracies; leave out --keyword.")


def _refusal(differing: Sequence[str]) -> UserError:
    more = f" (and {len(differing) - 1} more differences)" if len(differing) > 1 else ""
    return UserError(
        f"{differing[0]}{more}. Give a folder with runs of one kind, or --mix to show them anyway."
    )


def _unofficial(runs: Sequence[Run]) -> list[str]:
    names = dataset_order({r.result.dataset for r in runs if not r.result.comparable})
    if not names:
        return []
    return [f"not on the official split, comparable with no other: {', '.join(names)}"]


def _collection_notes(repeats: Sequence[Run], collected: Collection) -> list[str]:
    found = []
    if repeats:
        folders = ", ".join(str(run.folder) for run in repeats)
        found.append(f"repeats of runs in the table, left out: {folders}")
    for what, paths in (
        ("a log but no result, left out", collected.unfinished),
        (f"{RESULT_FILE} of another program, ignored", collected.foreign),
        ("links to other folders, not followed", collected.links),
    ):
        if paths:
            found.append(f"{what}: {', '.join(map(str, paths))}")
    return found


def _without_column(runs: Sequence[Run], grid: Grid) -> list[str]:
    """Name the runs with 0 shots of methods that have others: such a figure has no column."""
    hidden = [
        run
        for run in runs
        if run.result.shots not in grid.shots and grid.uses_shots(Row(run.result.method))
    ]
    folders = ", ".join(str(run.folder) for run in hidden)
    return [f"0 shots of a method that uses shots, no column for them: {folders}"] if hidden else []


def _without_value(runs: Sequence[Run], keyword: str) -> list[str]:
    """Name the runs without a figure, by the reason; their cells are dashes."""
    folders = defaultdict(list)
    for run in runs:
        if METRICS[keyword].value(run.result) is None:
            folders[why_unknown(run.result)].append(str(run.folder))
    return [f"no {keyword}, {why}: {', '.join(where)}" for why, where in folders.items()]


def _published_beside(
    figures: Sequence[PublishedResult], section: Section, runs: Sequence[Run], wanted: Wanted
) -> tuple[list[Cell], list[str]]:
    """Return the published cells beside `runs`, and what to note of them."""
    if section.evaluated:
        return [], ["no published results beside models that were trained on other images"]
    cells, others = published_cells(figures, runs), 0
    if not wanted.every_source:
        cells, others = one_source_each(cells)
    notes = []
    unlike = dataset_order({run.result.dataset for run in runs} - comparable_datasets(runs))
    if unlike:
        notes.append(f"no published results beside other test sets: {', '.join(unlike)}")
    if others:
        notes.append(
            "one published row per method, of the source with the most figures here, of equals its "
            f"authors' own; rows of other sources left out: {others} (--published all shows them)"
        )
    if not cells:
        notes.append(f"no published result of {section.backbone} on these datasets")
    return cells, notes
