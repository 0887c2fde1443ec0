"""Where the scalars of a run go: a file of this project, or a tracker of others, by name.

A tracker has the two methods of TensorBoard's SummaryWriter that Dassl calls, so that one takes the
place of the other. TRAIN.TRACK names it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from vtclip.errors import UserError

CSV_FILE = "scalars.csv"
# packages with wandb's functions
REMOTE = ("wandb", "trackio")


class Tracker(Protocol):
    """Takes the scalars of a run."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Take a number: its name (such as "train/loss"), its value, and the step it belongs to."""

    def close(self) -> None:
        """Finish; nothing is added after it."""


class CsvTracker:
    """Appends lines "step,name,value" to scalars.csv, each on disk at once, values in full.

    Args:
        folder: of the run. A resumed run goes on in the file, and repeats the steps it repeats.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / CSV_FILE
        # a line is written whole, so that a kill leaves no half of one
        self._file = path.open("a", encoding="utf-8", newline="", buffering=1)
        self._lines = csv.writer(self._file, lineterminator="\n")
        if path.stat().st_size == 0:
            self._lines.writerow(("step", "name", "value"))

    def add_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Append a line; without a step its cell is empty."""
        self._lines.writerow(("" if global_step is None else global_step, tag, float(scalar_value)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RemoteTracker:
    """Hands the scalars to a package with wandb's functions, under the project "vtclip".

    Args:
        package: the name that it is imported by.
        folder: of the run, which names it.
        settings: the configuration of the run by dotted key.
    """

    def __init__(self, package: str, folder: Path, settings: Mapping[str, Any]) -> None:
        module = import_module(package)
        self._run = module.init(project="vtclip", name=folder.as_posix(), config=dict(settings))

    def add_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Log a number; the step is logged beside it, for theirs may only grow."""
        step = {} if global_step is None else {"step": global_step}
        self._run.log({tag: float(scalar_value), **step})

    def close(self) -> None:
        """Finish their run."""
        self._run.finish()


# besides "tensorboard", which is Dassl's own, and "none"
TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], Tracker]] = {
    "csv": lambda folder, settings: CsvTracker(folder),
    "wandb": lambda folder, settings: RemoteTracker("wandb", folder, settings),
    "trackio": lambda folder, settings: RemoteTracker("trackio", folder, settings),
}


def check_tracker(name: str) -> None:
    """Refuse a tracker whose package is absent, before anything is computed.

    Raises:
        UserError: says how to install it.
    """
    if name in REMOTE and find_spec(name) is None:
        raise UserError(f"TRAIN.TRACK: {name} is not installed; pip install {name} installs it.")
