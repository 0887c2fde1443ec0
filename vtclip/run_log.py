"""log.txt: all that a run prints, beside the console."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from vtclip.errors import UserError
from vtclip.log_stream import start_log

LOG = "log.txt"


class Borrowed:
    """A stream that its user may close without effect: Dassl's logger closes the console."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the stream."""
        return getattr(self._stream, name)

    def close(self) -> None:
        """Flush, and leave the stream open."""
        self._stream.flush()


@contextmanager
def logged(folder: str) -> Iterator[None]:
    """Copy what is printed to log.txt in a folder while the block runs."""
    output, errors = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, Borrowed(stream)) for stream in (output, errors))
    try:
        start_log(folder)
        yield
    except UserError as error:
        # the console gets this line from the command line, after the log is closed
        sys.stdout.flush()
        # an earlier log is log.txt, the later ones have the time behind it
        latest = max(Path(folder).glob(f"{LOG}*"), default=None)
        if latest is not None:
            with suppress(OSError), latest.open("a", encoding="utf-8", errors="replace") as log:
                log.write(f"error: {error}\n")
        raise
    finally:
        log_and_console = sys.stdout
        sys.stdout, sys.stderr = output, errors
        log_and_console.flush()
