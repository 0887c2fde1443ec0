"""`vtclip datasets`: that of `python -m datasets`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vtclip.checkout import put_first


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    from vtclip.errors import run_command

    put_first()
    # by this name the package knows a command line, whose arguments come before its imports
    called, sys.argv[:1] = sys.argv[:1], ["-m"]
    try:
        from datasets.__main__ import main as datasets
    finally:
        sys.argv[:1] = called
    return run_command(lambda: datasets(argv))
