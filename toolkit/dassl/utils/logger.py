"""A copy on file of all that is printed."""

import atexit
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import TextIO

from dassl.utils.files import AnyPath, mkdir_if_missing


class _LogFile:
    """A new UTF-8 file of lines, unbuffered: the log of a run that dies has its last line.

    A file that cannot be written any more, as on a full disk, does not end the run: the rest is not
    logged, and one line on the console says so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("xb", buffering=0)
        self.failed = False

    def write(self, text: str, console: TextIO) -> None:
        if self.failed:
            return
        left = text.encode("utf-8", "backslashreplace")
        try:
            while left:
                left = left[self.file.write(left) :]
        except (OSError, ValueError) as error:  # ValueError: closed, by an old handler
            self.failed = True
            reason = getattr(error, "strerror", None) or error
            _show(console, f"{self.path}: the log could not be written: {reason}\n")

    def close(self) -> None:
        # what still comes is not of this log
        self.failed = True
        with suppress(OSError):
            self.file.close()


class _Tee:
    """A text stream that also writes to a log; all else is the stream's.

    The log gets whole lines, and of each what follows its last carriage return: of a progress bar
    only its last state.
    """

    def __init__(self, stream: TextIO, log: _LogFile) -> None:
        self.stream = stream
        self.log = log
        self.started = ""  # the line that has not ended yet
        self.lock = RLock()
        atexit.register(self.end_line)

    def write(self, text: str) -> int:
        with self.lock:
            *lines, rest = (self.started + text).split("\n")
            # A carriage return at the end may be half of a "\r\n".
            self.started = _last_state(rest) + ("\r" if rest.endswith("\r") else "")
            if lines:
                ended = "".join(f"{_last_state(line)}\n" for line in lines)
                self.log.write(ended, self.stream)
            _show(self.stream, text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def end_line(self) -> None:
        """Log the line that has not ended yet, as it is."""
        with self.lock:
            self.log.write(_last_state(self.started), self.stream)
            self.started = ""

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        """End the log; the stream stays open."""
        self.end_line()
        atexit.unregister(self.end_line)
        self.log.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)


def setup_logger(output: AnyPath | None = None) -> None:
    """Copy what goes to stdout and stderr from now on to a file.

    Args:
        output: a folder, whose `log.txt` is written, or a file ending in .txt or .log. Where the
            file exists, the date and time are appended to the name of the new one. None: no log.

    A second call ends the first log. Characters that the console cannot print are replaced there;
    the file is UTF-8.

    Raises:
        OSError: the file cannot be made. One that fails later does not end the run.
    """
    if output is None:
        return
    path = Path(output)
    if path.suffix not in (".txt", ".log"):
        path = path / "log.txt"
    if path.exists():
        path = path.with_name(f"{path.name}-{datetime.now():%Y-%m-%d-%H-%M-%S-%f}")
    mkdir_if_missing(path.parent)
    log = _LogFile(path)
    old = []
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Tee):
            # Not replaced but pointed to the new file, as handlers of `logging` may hold it.
            stream.end_line()
            old.append(stream.log)
            stream.log = log
        else:
            setattr(sys, name, _Tee(stream, log))
    for finished in old:
        finished.close()


def _last_state(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]


def _show(console: TextIO, text: str) -> None:
    """Print text, with replacements for the characters that the console does not have."""
    try:
        console.write(text)
    except UnicodeEncodeError:
        encoding = console.encoding or "ascii"
        console.write(text.encode(encoding, "replace").decode(encoding))
