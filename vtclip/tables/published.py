"""Figures that others published, as data with their sources; nothing here was run again."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtclip.errors import UserError
from vtclip.files import require_file
from vtclip.tables.cells import Cell, Row
from vtclip.tables.collect import Run
from vtclip.tables.names import (
    AVERAGE,
    BENCHMARK,
    dataset_name,
    same_backbone,
    same_method,
)

PUBLISHED_FILE = Path(__file__).with_name("published_results.csv")
COLUMNS = ("method", "backbone", "dataset", "shots", "accuracy", "source")
# the word of --published for every source of a method
EVERY_SOURCE = "all"
# how the sources of a method's own authors start
AUTHORS: dict[str, tuple[str, ...]] = {
    "APE": ("yangyangyang127/APE",),
    "APE-T": ("yangyangyang127/APE",),
    "CLIP-Adapter": ("gaopengcuhk/",),
    "CLIP-SVD": ("HealthX-Lab/CLIP-SVD",),
    "CaFo": ("OpenGVLab/CaFo",),
    "CoOp": ("KaiyangZhou/CoOp", "github.com/KaiyangZhou/CoOp"),
    "GDA-CLIP": ("mrflogs/ICLR24",),
    "PLOT++": ("CHENGY12/PLOT",),
    "TIMO": ("lyymuwu/TIMO",),
    "TIMO-S": ("lyymuwu/TIMO",),
    "Tip-Adapter": ("gaopengcuhk/Tip-Adapter",),
    "Tip-Adapter-F": ("gaopengcuhk/Tip-Adapter",),
}


@dataclass(frozen=True)
class PublishedResult:
    """One published accuracy, in percent; `dataset` is a DATASET.NAME or "average" (of eleven).

    `selected_on` is "test" where epochs or hyper-parameters were selected on the test images, by
    the code that the authors released; "" where nothing is known.
    """

    method: str
    backbone: str
    dataset: str
    shots: int
    accuracy: float
    source: str
    selected_on: str = ""


@dataclass(frozen=True)
class Wanted:
    """Which published figures to put beside.

    Attributes:
        path: the file of all of them.
        texts: the methods, or texts within their sources; empty for all.
        every_source: show each source of a method, not one of them.
    """

    path: Path = PUBLISHED_FILE
    texts: tuple[str, ...] = ()
    every_source: bool = False


def wanted_of(text: str) -> Wanted:
    """Return what a list such as "Tip-Adapter,CaFo" asks for; an empty text asks for any figure.

    A name that ends in .csv is a file in place of the one in the package, and "all" asks for every
    source of a method.

    Raises:
        UserError: it names two files.

    >>> wanted_of("Tip-Adapter, all").texts
    ('Tip-Adapter',)
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    files = [item for item in items if item.casefold().endswith(".csv")]
    if len(files) > 1:
        raise UserError(f"--published: {files[0]} and {files[1]}; give one file.")
    return Wanted(
        path=Path(files[0]) if files else PUBLISHED_FILE,
        texts=tuple(item for item in items if item not in files and item != EVERY_SOURCE),
        every_source=EVERY_SOURCE in items,
    )


def wanted_figures(wanted: Wanted) -> list[PublishedResult]:
    """Return the figures of the file that `wanted` names, of all backbones.

    The name of a method, in any spelling, means that method alone; another text is looked for in
    methods and sources.

    Raises:
        UserError: the file is wrong (see :func:`read_published`), or has nothing of a text.
    """
    figures = read_published(wanted.path)
    if not wanted.texts:
        return figures
    chosen: set[PublishedResult] = set()
    for text in wanted.texts:
        found = [f for f in figures if same_method(f.method, text)] or [
            f for f in figures if text.casefold() in f"{f.method}\n{f.source}".casefold()
        ]
        if not found:
            methods = ", ".join(sorted({f.method for f in figures}))
            raise UserError(
                f"--published: {text!r} is no method and in no source of {wanted.path.name}; "
                f"methods: {methods}."
            )
        chosen.update(found)
    return [figure for figure in figures if figure in chosen]


def read_published(path: Path = PUBLISHED_FILE) -> list[PublishedResult]:
    """Read published results from a CSV file with the columns of COLUMNS.

    A column `selected_on` may be there too.

    Raises:
        UserError: the file cannot be read, lacks a column, or a line is not valid.
    """
    try:
        require_file(path)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(
            f"{path}: lacks the column {', '.join(missing)} (needs {','.join(COLUMNS)})."
        )
    return [_parse_line(path, reader.line_num, line) for line in reader]


def _parse_line(path: Path, number: int, line: dict[str, str]) -> PublishedResult:
    try:
        shots, accuracy = int(line["shots"]), float(line["accuracy"])
    except (TypeError, ValueError):
        shots, accuracy = 0, -1.0
    if not 0.0 <= accuracy <= 100.0 or not line["method"] or not line["source"]:
        raise UserError(
            f"{path}, line {number}: needs a method, whole shots, an accuracy in percent, a source."
        )
    return PublishedResult(
        line["method"],
        line["backbone"],
        dataset_name(line["dataset"]),
        shots,
        accuracy,
        line["source"],
        line.get("selected_on") or "",
    )


def comparable_datasets(runs: Sequence[Run]) -> set[str]:
    """Return the datasets tested on the official split, the test images and all classes."""
    results = [run.result for run in runs]
    unlike = {
        r.dataset for r in results if not r.comparable or r.classes != "all" or r.split != "test"
    }
    return {r.dataset for r in results} - unlike


def published_cells(published: Sequence[PublishedResult], runs: Sequence[Run]) -> list[Cell]:
    """Return the published results with the backbone, datasets and shot counts of `runs`.

    A result without shots is shown at every shot count, unless its method has other results with
    shots. The published average is shown only beside runs on exactly the eleven datasets. Where
    `runs` have several backbones, nothing is returned. A method that `runs` have too gets the name
    of its trainer.
    """
    if len({run.result.backbone for run in runs}) != 1:
        return []
    published = [f for f in published if same_backbone(f.backbone, runs[0].result.backbone)]
    with_shots = {(f.method, f.source) for f in published if f.shots != 0}
    datasets = comparable_datasets(runs)
    if {run.result.dataset for run in runs} == set(BENCHMARK) == datasets:
        datasets = {*datasets, AVERAGE}
    shots = {run.result.shots for run in runs}
    trainers = sorted({run.result.trainer for run in runs})
    names = {
        f.method: next((t for t in trainers if same_method(t, f.method)), f.method)
        for f in published
    }
    return [
        Cell(
            Row(names[f.method], f.source),
            f.dataset,
            f.shots,
            (f.accuracy,),
            selected_on=f.selected_on,
            backbone=f.backbone,
        )
        for f in published
        if f.dataset in datasets
        and (f.shots in shots if (f.method, f.source) in with_shots else f.shots == 0)
    ]


def one_source_each(cells: Sequence[Cell]) -> tuple[list[Cell], int]:
    """Return the cells of one source per method, and how many other sources there are.

    It is the source with the most figures; of several, that of the method's own authors; of
    several again, the first by name.
    """
    figures = Counter(cell.row for cell in cells)
    chosen: dict[str, Row] = {}
    for row in sorted(figures, key=lambda row: (-figures[row], not _by_authors(row), row.source)):
        chosen.setdefault(row.method, row)
    kept = [cell for cell in cells if chosen[cell.row.method] == cell.row]
    return kept, len(figures) - len(chosen)


def _by_authors(row: Row) -> bool:
    own = [starts for method, starts in AUTHORS.items() if same_method(method, row.method)]
    return any(row.source.startswith(starts) for starts in own)
