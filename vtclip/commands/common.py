"""What the command lines share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from vtclip.checkout import put_first

Parse = Callable[[Sequence[str] | None], argparse.Namespace]


class CommandLine:
    """The `main` of a command: called with arguments (sys.argv by default), returns an exit code.

    Args:
        parse_args: what reads the arguments; it imports nothing heavy.
        run: what does the work; see :func:`vtclip.errors.run_command`.
    """

    def __init__(self, parse_args: Parse, run: Callable[[argparse.Namespace], int | None]) -> None:
        self.parse_args, self.run = parse_args, run

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the command line."""
        put_first()
        args = self.parse_args(argv)
        from vtclip.errors import run_command

        return run_command(lambda: self.run(args))


def add_plugin(parser: argparse.ArgumentParser, registers: str) -> None:
    """Add --plugin, which can be repeated.

    Args:
        parser: of the command.
        registers: what a plug-in may register for this command.
    """
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help=f"import a module or file that registers {registers} (repeatable)",
    )


def add_backbone(parser: argparse.ArgumentParser) -> None:
    """Add --backbone, for a run whose backbone has another name or place by now."""
    help_text = "name or weights of the backbone, where they moved"
    parser.add_argument("--backbone", default="", help=help_text)


def counts_up_to(most: int) -> Callable[[str], int]:
    """Return the type of an argument that is a whole number from 1 to `most`.

    >>> counts_up_to(9)("7")
    7
    """

    def count(text: str) -> int:
        # int() refuses texts of thousands of digits
        if not text.isdecimal() or not 0 < int(text[: len(str(most)) + 1]) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {most}")
        return int(text)

    return count
