"""log.txt: all that a run prints, beside the console."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

from dassl.utils import setup_logger

from vtclip.errors import UserError
from vtclip.interruption import Interrupted
from vtclip.standard_streams import Borrowed

LOG = "log.txt"


@contextmanager
def logged(folder: str) -> Iterator[None]:
    """Copy what is printed to log.txt in a folder while the block runs."""
    output, errors = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, Borrowed(stream)) for stream in (output, errors))
    try:
        setup_logger(folder)
        yield
    except (UserError, Interrupted) as error:
        # the console gets this line from the command line, after the log is closed
        with (Path(folder) / LOG).open("a", encoding="utf-8", errors="replace") as log:
            sys.stdout.flush()
            log.write(f"{'error: ' if isinstance(error, UserError) else ''}{error}\n")
        raise
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = output, errors
