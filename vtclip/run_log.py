"""log.txt: all that a run prints, beside the console."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast

from vtclip.errors import UserError
from vtclip.interruption import Interrupted
from vtclip.log_stream import start_log
from vtclip.standard_streams import Borrowed

LOG = "log.txt"


@contextmanager
def logged(folder: str) -> Iterator[None]:
    """Copy what is printed to log.txt in a folder while the block runs."""
    output, errors = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, Borrowed(stream)) for stream in (output, errors))
    try:
        start_log(folder)
        yield
    except (UserError, Interrupted) as error:
        # the console gets this line from the command line, after the log is closed
        sys.stdout.flush()
        # an earlier log is log.txt, the later ones have the time behind it
        latest = max(Path(folder).glob(f"{LOG}*"), default=None)
        if latest is not None:
            with suppress(OSError), latest.open("a", encoding="utf-8", errors="replace") as log:
                kind = "error: " if isinstance(error, UserError) else ""
                log.write(f"{kind}{error}\n")
        raise
    finally:
        log_and_console = sys.stdout
        sys.stdout, sys.stderr = output, errors
        log_and_console.flush()
