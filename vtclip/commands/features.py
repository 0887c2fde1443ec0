"""`vtclip features`: that of `python -m vtclip.features`."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    from vtclip.errors import run_command
    from vtclip.features.__main__ import main as features

    return run_command(lambda: features(argv))
