"""A copy on file of all that is printed."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TextIO

from dassl.utils.files import AnyPath, mkdir_if_missing


class _Tee:
    """A text stream that also writes to a file; all else is the stream's."""

    def __init__(self, stream: TextIO, file: TextIO) -> None:
        self.stream = stream
        self.file = file

    def write(self, text: str) -> int:
        self.file.write(text)
        return self.stream.write(text)

    def flush(self) -> None:
        self.file.flush()
        self.stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)


def setup_logger(output: AnyPath | None = None) -> None:
    """Copy what goes to stdout and stderr from now on to a file.

    Args:
        output: a folder, whose `log.txt` is written, or a file ending in .txt or .log. Where the
            file exists, the date and time are appended to the name of the new one. None: no log.

    A second call ends the first log.
    """
    if output is None:
        return
    path = Path(output)
    if path.suffix not in (".txt", ".log"):
        path = path / "log.txt"
    if path.exists():
        path = path.with_name(f"{path.name}-{datetime.now():%Y-%m-%d-%H-%M-%S-%f}")
    mkdir_if_missing(path.parent)
    # Line-buffered: the log of a run that dies is complete up to its last line.
    file = path.open("x", encoding="utf-8", buffering=1)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Tee):
            # Not replaced but pointed to the new file, as handlers of `logging` may hold it.
            stream.file.close()
            stream.file = file
        else:
            setattr(sys, name, _Tee(stream, file))
