"""The scalars of a run, which it can do without; a part of the base trainer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dassl.engine import TrainerX

from vtclip.config import flatten
from vtclip.screen import say
from vtclip.tracking import CSV_FILE, TRACKERS

# what a full disk costs, by TRAIN.TRACK
FILES = {"tensorboard": "TensorBoard's files", "csv": CSV_FILE}


class Scalars(TrainerX):
    """Overrides the writer of Dassl's trainers: TRAIN.TRACK names what takes the scalars.

    A full disk ends their files, and not the run.
    """

    @contextmanager
    def scalars_written(self) -> Iterator[None]:
        """Close the writer where the block ends, however it does.

        Meanwhile, what its thread cannot write is no traceback of the thread: the trainer gets the
        same error from its next call.
        """
        shown_before = threading.excepthook

        def show(args: threading.ExceptHookArgs) -> None:
            of_writer = type(args.thread).__module__.startswith("tensorboard.")
            if not (of_writer and issubclass(args.exc_type, OSError)):
                shown_before(args)

        threading.excepthook = show
        try:
            yield
        finally:
            self.close_writer()
            threading.excepthook = shown_before

    def init_writer(self, log_dir: Any) -> None:
        """Open the writer of TRAIN.TRACK, unless one is open; TensorBoard's files go to `log_dir`.

        TensorBoard is the default, and where it is not installed the log says so.
        """
        track = self.cfg.TRAIN.TRACK
        if track in TRACKERS and self._writer is None:
            self._or_without(self._open, track)
        elif track == "tensorboard" and find_spec("tensorboard") is None:
            print("No TensorBoard files: pip install 'vtclip[track]' installs what they need")
        elif track == "tensorboard":
            self._or_without(super().init_writer, log_dir)

    def _open(self, track: str) -> None:
        self._writer = TRACKERS[track](Path(self.output_dir), flatten(self.cfg))

    def write_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Write a number, if a writer is open."""
        self._or_without(super().write_scalar, tag, scalar_value, global_step)

    def close_writer(self) -> None:
        """Close the writer, if one is open."""
        self._or_without(super().close_writer)
        self._writer = None

    def _or_without(self, write: Callable[..., None], *arguments: Any) -> None:
        try:
            write(*arguments)
        except OSError as error:
            self._writer = None
            track = self.cfg.TRAIN.TRACK
            say(
                f"{self.output_dir}: {FILES.get(track, f'the scalars of {track}')} could not be "
                f"written ({error.strerror}); the run goes on without them"
            )
