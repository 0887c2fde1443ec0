"""The log that Dassl writes beside the console: a full disk ends it, and not the run."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

from dassl.utils import setup_logger

from vtclip.errors import UserError
from vtclip.screen import say


def start_log(folder: str) -> None:
    """Let Dassl copy what is printed from now on to log.txt in a folder.

    A log that fails later is left out, and a line on the console says so: what counts is the
    result, whose own writing fails where the disk is full.

    Raises:
        UserError: there can be no log.
    """
    console = sys.stdout
    sys.stdout = cast(TextIO, _KeptOpen(console))
    try:
        setup_logger(folder)
    except OSError as error:
        sys.stdout = console
        name = error.filename or Path(folder)
        raise UserError(f"{name}: cannot be written ({error.strerror}).") from error
    sys.stdout = cast(TextIO, _LogAndConsole(sys.stdout, console, folder))


def end_log() -> None:
    """Close the log of :func:`start_log`: a process may carry out thousands of runs."""
    if isinstance(sys.stdout, _LogAndConsole):
        sys.stdout.end()


class _KeptOpen:
    """The console, which the logger of Dassl.pytorch would close when its own file is closed."""

    def __init__(self, console: TextIO) -> None:
        self._console = console

    def __getattr__(self, name: str) -> Any:
        return getattr(self._console, name)

    def close(self) -> None:
        """Leave the console open: what comes after a run is printed there."""


class _LogAndConsole:
    """Dassl's logger, or the console alone once that has failed.

    The logger of Dassl.pytorch raises in each print, flush and at its end where its file cannot be
    written. It writes to the console first, so no text is lost there.
    """

    def __init__(self, logger: TextIO, console: TextIO, folder: str) -> None:
        self._stream, self._console, self._folder = logger, console, folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self._leave_log(error)
        # the stand-in's logger raises nothing, and tells the console, which nobody may see
        if getattr(getattr(self._stream, "log", None), "failed", False):
            self._stream = self._console
            self._tell("no room")
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._leave_log(error)

    def end(self) -> None:
        """Close the log; what is printed after that goes to the console alone."""
        if self._stream is not self._console:
            stream, self._stream = self._stream, self._console
            with suppress(OSError):
                stream.close()

    def _leave_log(self, error: OSError) -> None:
        # a reader that has gone, or a console that is itself a file on the full disk
        if isinstance(error, BrokenPipeError) or self._stream is self._console:
            raise error
        with suppress(OSError):
            # what it has buffered would fail once more at exit
            self._stream.close()
        self._stream = self._console
        self._tell(error.strerror)

    def _tell(self, reason: str | None) -> None:
        say(f"{self._folder}: the log could not be written ({reason}); the run goes on without it")
