"""log.txt: all that a run prints, of which the screen shows what people need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vtclip.errors import UserError
from vtclip.interruption import Interrupted
from vtclip.log_stream import end_log, start_log
from vtclip.screen import errors_logged, log_only, taken_over


@contextmanager
def logged(folder: str, *, verbose: bool = False) -> Iterator[None]:
    """Write what is printed, and standard error, to log.txt in a folder while the block runs.

    Args:
        folder: of the run.
        verbose: show it on the screen too.
    """
    with taken_over(verbose=verbose):
        start_log(folder)
        try:
            with errors_logged():
                try:
                    yield
                except (UserError, Interrupted) as error:
                    # the screen gets this line from the command line, after the log is closed
                    log_only(f"{'error: ' if isinstance(error, UserError) else ''}{error}")
                    raise
        finally:
            end_log()
