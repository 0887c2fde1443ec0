"""All results below a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtclip.errors import UserError
from vtclip.results import RESULT_FILE, Result, read_result


@dataclass(frozen=True)
class Run:
    """A result and the folder that it lies in."""

    folder: Path
    result: Result


def collect(root: Path) -> list[Run]:
    """Read every result.json below `root`, hidden folders aside, in the order of their paths.

    Raises:
        UserError: `root` is not a folder, holds no result, or one that cannot be read.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder.")
    runs: list[Run] = []
    for name, folders, files in os.walk(root):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        if RESULT_FILE in files:
            folder = Path(name)
            runs.append(Run(folder, read_result(folder / RESULT_FILE)))
    if not runs:
        raise UserError(f"{root}: no {RESULT_FILE} anywhere below it; logs alone make no table.")
    return runs


def without_repeats(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Part `runs` into those that count and those that only repeat one of them.

    Evaluating a run again on the same images is no second seed. Nor is a run without shots that
    was made for several shot counts: its figure is the same.
    """
    trained = {(run.folder.resolve(), _images(run.result)) for run in runs}
    counted: list[Run] = []
    repeats: list[Run] = []
    without_shots: set[tuple[object, ...]] = set()
    for run in runs:
        r = run.result
        again = bool(r.evaluated) and (Path(r.evaluated).resolve(), _images(r)) in trained
        if r.shots == 0:
            figure = (r.trainer, *_images(r), r.seed, r.config_digest, r.accuracy)
            again = again or figure in without_shots
            without_shots.add(figure)
        (repeats if again else counted).append(run)
    return counted, repeats


def folders_without_result(root: Path) -> list[Path]:
    """Return the folders below `root` with a log but no result: unfinished, or not run by us."""
    return sorted(
        log.parent
        for log in root.rglob("log.txt")
        if not (log.parent / RESULT_FILE).is_file()
        and not any(part.startswith(".") for part in log.relative_to(root).parts)
    )


def _images(result: Result) -> tuple[str, str, str]:
    return result.dataset, result.split, result.classes
