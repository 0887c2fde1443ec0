"""Standard output and error that may be closed, lose their reader, or lack characters."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast


class Borrowed:
    """A stream that its user may close without effect: Dassl's logger closes the console."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the stream."""
        return getattr(self._stream, name)

    def close(self) -> None:
        """Flush, and leave the stream open."""
        self.flush()

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


# of the system, where a disk, a quota or the largest size of a file is reached
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Lasting(Borrowed):
    """A stream that can always be written to: what has nowhere to go is dropped.

    Characters that it lacks are written as escapes.

    Attributes:
        lost: the error of a full disk that a part of the output was lost by, None without one; a
            reader that has gone or a closed stream is no error.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write as much as the stream takes; return the length of the text."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError) as error:  # ValueError: closed
            self._drop_the_rest(error)
        return len(text)

    def flush(self) -> None:
        """Flush the stream if that can be."""
        try:
            super().flush()
        except (OSError, ValueError) as error:
            self._drop_the_rest(error)

    def _drop_the_rest(self, error: OSError | ValueError) -> None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            # without its traceback, which would hold what the writer holds
            self.lost = OSError(error.errno, error.strerror)
        null = _nowhere()
        # the interpreter writes what is still buffered when it ends
        with suppress(OSError, ValueError):
            os.dup2(null.fileno(), self._stream.fileno())
        self._stream = null


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


@contextmanager
def lasting_streams() -> Iterator[tuple[Lasting, Lasting]]:
    """Let standard output and error take all that is printed while the block runs.

    A command whose output is not read to the end (`| head`) does its work all the same.
    """
    before = sys.stdout, sys.stderr
    output, errors = _replace_streams()
    try:
        yield output, errors
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


def let_streams_last() -> Lasting | None:
    """Do as :func:`lasting_streams` until the interpreter ends, for a command line of others.

    Where another stream stands in for the interpreter's own, as in a notebook, nothing is done.

    Returns:
        The output, None where nothing is done.
    """
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        return None
    return _replace_streams()[0]


def _replace_streams() -> tuple[Lasting, Lasting]:
    # else the next file that is opened would be taken for the console
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # None: was closed when the interpreter started
    found = (sys.stdout, sys.stderr)
    output, errors = (Lasting(_nowhere() if stream is None else stream) for stream in found)
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, errors)
    return output, errors
