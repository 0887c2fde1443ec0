"""`python -m datasets prepare NAME` and `python -m datasets check [NAME ...]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vtclip.commands.calls import how_to_call
from vtclip.errors import run_command, unknown_name

from . import BENCHMARK, register_all

DESCRIPTION = "Download datasets and check them."


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=how_to_call("datasets"), description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="download a dataset and put it in place")
    prepare.add_argument("names", metavar="NAME", nargs=1, help=f"one of {', '.join(BENCHMARK)}")
    check = commands.add_parser("check", help="say what is there and what is missing")
    check.add_argument("names", metavar="NAME", nargs="*", help="default: all")
    check.add_argument("--deep", action="store_true", help="open every image")
    for command in (prepare, check):
        command.add_argument(
            "--root",
            type=Path,
            default=Path(os.environ.get("DATA") or "data"),
            help="the data root (default: $DATA, else ./data)",
        )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands and return its exit code: 1 where a check finds faults."""
    arguments = _parse(argv)
    for name in arguments.names:
        if name not in BENCHMARK:
            raise unknown_name("dataset", name, BENCHMARK)
    root = arguments.root.expanduser().absolute()
    register_all()
    if arguments.command == "prepare":
        return _prepare(arguments.names[0], root)
    return _check(arguments.names, root, arguments.deep)


def _prepare(name: str, root: Path) -> int:
    from .base import ImageDataset
    from .prepare import prepare

    sizes = prepare(ImageDataset.known[name].at(root))
    print(
        f"{name}: ready in {root}: {sizes.train:,} train, {sizes.val:,} val, {sizes.test:,} test "
        f"images of {sizes.classes:,} classes"
    )
    return 0


def _check(names: list[str], root: Path, deep: bool) -> int:
    from tabulate import tabulate

    from .base import ImageDataset
    from .check import ABSENT, COLUMNS, OK, broken_images, inspect

    findings = [inspect(ImageDataset.known[name].at(root)) for name in names or BENCHMARK]
    print(f"Data root: {root}")
    print(tabulate([finding.row for finding in findings], headers=COLUMNS, disable_numparse=True))
    faults = [f for f in findings if f.state != OK and (names or f.state != ABSENT)]
    if any(finding.state != OK for finding in findings):
        print(f"What is missing: {how_to_call('datasets')} prepare NAME --root {root}")
    broken = {}
    if deep:
        lists = [f.lists for f in findings if f.lists]
        items = [item for part in lists for item in (*part.train, *part.val, *part.test)]
        broken = broken_images(root, (item.path for item in items))
        print(f"{len(items):,} images opened, {len(broken):,} broken")
        for path, reason in broken.items():
            print(f"broken: {path}: {reason}")
    return 1 if faults or broken else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
