"""TensorBoard's files of a run, which it can do without; a part of the base trainer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from dassl.engine import TrainerX

from vtclip.screen import say


class Scalars(TrainerX):
    """Overrides the writer of Dassl's trainers: a full disk ends its files, and not the run."""

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
        """Open the writer in `log_dir`, unless one is open, or TensorBoard is not installed."""
        if find_spec("tensorboard") is None:
            print("No TensorBoard files: pip install 'vtclip[track]' installs what they need")
            return
        self._or_without(super().init_writer, log_dir)

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
            say(
                f"{self.output_dir}: TensorBoard's files could not be written "
                f"({error.strerror}); the run goes on without them"
            )
