"""Figures that others published, as facts with their sources; nothing here was run again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtclip.errors import UserError
from vtclip.tables.cells import Cell, Row
from vtclip.tables.collect import Run
from vtclip.tables.names import AVERAGE, BENCHMARK, dataset_name, same_backbone

PUBLISHED_FILE = Path(__file__).with_name("published_results.csv")
COLUMNS = ("method", "backbone", "dataset", "shots", "accuracy", "source")


@dataclass(frozen=True)
class Published:
    """One published accuracy, in percent; `dataset` is a DATASET.NAME or "average" (of eleven)."""

    method: str
    backbone: str
    dataset: str
    shots: int
    accuracy: float
    source: str


def read_published(path: Path = PUBLISHED_FILE) -> list[Published]:
    """Read published figures: a CSV file with the columns of COLUMNS.

    Raises:
        UserError: the file cannot be read, lacks a column, or a line is no figure with a source.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(
            f"{path}: lacks the column {', '.join(missing)} (needs {','.join(COLUMNS)})."
        )
    return [_figure(path, reader.line_num, line) for line in reader]


def _figure(path: Path, number: int, line: dict[str, str]) -> Published:
    try:
        shots, accuracy = int(line["shots"]), float(line["accuracy"])
    except (TypeError, ValueError):
        shots, accuracy = 0, -1.0
    if not 0.0 <= accuracy <= 100.0 or not line["method"] or not line["source"]:
        raise UserError(
            f"{path}, line {number}: needs a method, whole shots, an accuracy in percent, a source."
        )
    return Published(
        line["method"],
        line["backbone"],
        dataset_name(line["dataset"]),
        shots,
        accuracy,
        line["source"],
    )


def comparable_datasets(runs: Sequence[Run]) -> set[str]:
    """Return the datasets tested as publications test: official split, test images, all classes."""
    results = [run.result for run in runs]
    unlike = {
        r.dataset for r in results if not r.comparable or r.classes != "all" or r.split != "test"
    }
    return {r.dataset for r in results} - unlike


def published_cells(figures: Sequence[Published], runs: Sequence[Run]) -> list[Cell]:
    """Return the figures that may stand beside `runs`: same backbone, datasets and shot counts.

    Figures without shots belong to every shot count, unless their method has others with shots. The
    published average stands beside runs on all eleven datasets and no other. Where runs of several
    backbones are mixed there is nothing to stand beside.
    """
    if len({run.result.backbone for run in runs}) != 1:
        return []
    figures = [f for f in figures if same_backbone(f.backbone, runs[0].result.backbone)]
    with_shots = {(f.method, f.source) for f in figures if f.shots != 0}
    datasets = comparable_datasets(runs)
    if {run.result.dataset for run in runs} == set(BENCHMARK) == datasets:
        datasets = {*datasets, AVERAGE}
    shots = {run.result.shots for run in runs}
    return [
        Cell(Row(f.method, f.source), f.dataset, f.shots, (f.accuracy,), backbone=f.backbone)
        for f in figures
        if f.dataset in datasets
        and (f.shots in shots if (f.method, f.source) in with_shots else f.shots == 0)
    ]
