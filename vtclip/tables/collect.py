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
    """Part `runs` into those that count and the evaluations of runs that are among them.

    Evaluating a run again on the same images gives the same figure; it is no second seed.
    """
    trained = {(run.folder.resolve(), _images(run.result)) for run in runs}
    repeats = [
        run
        for run in runs
        if run.result.evaluated
        and (Path(run.result.evaluated).resolve(), _images(run.result)) in trained
    ]
    return [run for run in runs if run not in repeats], repeats


def _images(result: Result) -> tuple[str, str, str]:
    return result.dataset, result.split, result.classes
