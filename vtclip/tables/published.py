"""Figures that others published, as data with their sources; nothing here was run again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtclip.errors import UserError
from vtclip.files import require_file
from vtclip.tables.cells import Cell, Row
from vtclip.tables.collect import Run
from vtclip.tables.names import AVERAGE, BENCHMARK, dataset_name, same_backbone

PUBLISHED_FILE = Path(__file__).with_name("published_results.csv")
COLUMNS = ("method", "backbone", "dataset", "shots", "accuracy", "source")


@dataclass(frozen=True)
class PublishedResult:
    """One published accuracy, in percent; `dataset` is a DATASET.NAME or "average" (of eleven)."""

    method: str
    backbone: str
    dataset: str
    shots: int
    accuracy: float
    source: str


def read_published(path: Path = PUBLISHED_FILE) -> list[PublishedResult]:
    """Read published results from a CSV file with the columns of COLUMNS.

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
    `runs` have several backbones, nothing is returned.
    """
    if len({run.result.backbone for run in runs}) != 1:
        return []
    published = [f for f in published if same_backbone(f.backbone, runs[0].result.backbone)]
    with_shots = {(f.method, f.source) for f in published if f.shots != 0}
    datasets = comparable_datasets(runs)
    if {run.result.dataset for run in runs} == set(BENCHMARK) == datasets:
        datasets = {*datasets, AVERAGE}
    shots = {run.result.shots for run in runs}
    return [
        Cell(Row(f.method, f.source), f.dataset, f.shots, (f.accuracy,), backbone=f.backbone)
        for f in published
        if f.dataset in datasets
        and (f.shots in shots if (f.method, f.source) in with_shots else f.shots == 0)
    ]
