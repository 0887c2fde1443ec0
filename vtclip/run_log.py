"""log.txt: all that a run prints, beside the console."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from dassl.utils import setup_logger


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
    """Copy standard output to log.txt in a folder while the block runs."""
    console = sys.stdout
    sys.stdout = cast(TextIO, Borrowed(console))
    try:
        setup_logger(folder)
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = console
