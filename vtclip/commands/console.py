"""The console command `vtclip SUBCOMMAND ...`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from vtclip import __version__


@dataclass(frozen=True)
class Subcommand:
    """A subcommand.

    Attributes:
        module: below vtclip.commands; its `main` takes the arguments and returns an exit code.
        help_text: what it does.
        first: arguments that go before the user's.
    """

    module: str
    help_text: str
    first: tuple[str, ...] = ()


# one line makes a subcommand
SUBCOMMANDS = {
    "train": Subcommand("train", "train and test a method"),
    "eval": Subcommand("train", "evaluate what `vtclip train` trained", ("--eval-only",)),
    "sweep": Subcommand("sweep", "many methods, datasets, shots and seeds"),
    "predict": Subcommand("predict", "classify images with a finished run"),
    "report": Subcommand("report", "pictures and a page of finished runs"),
    "tables": Subcommand("tables", "mean over seeds, and benchmark tables of many runs"),
    "datasets": Subcommand("datasets", "download and check datasets"),
    "features": Subcommand("features", "list, verify and prune the feature cache"),
    "export": Subcommand("export", "a finished run as ONNX, or as a folder for a model hub"),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the name of the subcommand; the rest is its own."""
    width = max(map(len, SUBCOMMANDS))
    lines = (f"  {name:{width}}  {known.help_text}" for name, known in SUBCOMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="vtclip",
        usage="vtclip SUBCOMMAND ...",
        description="Few-shot adaptation of CLIP: VT-CLIP and its rivals.",
        epilog="\n".join(("subcommands:", *lines, "", "`vtclip SUBCOMMAND --help` says more.")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vtclip {__version__}")
    parser.add_argument("subcommand", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code."""
    args = parse_args(argv)
    if args.subcommand not in SUBCOMMANDS:
        return _refuse(args.subcommand)
    known = SUBCOMMANDS[args.subcommand]
    module = import_module(f"vtclip.commands.{known.module}")
    code: int = module.main([*known.first, *args.arguments])
    return code


def _refuse(name: str) -> int:
    from vtclip.errors import run_command, unknown_name

    def refuse() -> None:
        raise unknown_name("vtclip", name, SUBCOMMANDS)

    return run_command(refuse)
