"""`python -m vtclip.features`: look after the folder of remembered features."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vtclip.errors import run_command

if TYPE_CHECKING:
    from vtclip.features.store import CacheEntry, FeatureStore

DAY = 86400.0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m vtclip.features", description="Features remembered on disk."
    )
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="folder of the features (default: $VTCLIP_CACHE, or the user's cache folder)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", parents=[root], help="what is remembered, its size and last use")
    commands.add_parser(
        "verify", parents=[root], help="compare checksums; what is damaged is removed"
    )
    prune = commands.add_parser("prune", parents=[root], help="remove what is not used")
    which = prune.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--older-than", type=float, metavar="DAYS", help="what was last used that many days ago"
    )
    which.add_argument("--all", action="store_true", help="everything")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 1 where verify found damage."""
    parsed = parse(arguments)
    # after parsing, so that --help is immediate
    from vtclip.features.store import FeatureStore

    store = FeatureStore(parsed.root)
    if parsed.command == "ls":
        list_entries(store)
        return 0
    if parsed.command == "verify":
        return verify(store)
    prune(store, None if parsed.all else parsed.older_than)
    return 0


def list_entries(store: FeatureStore) -> None:
    """Print a row for each entry and kind of tokens."""
    import time

    from tabulate import tabulate

    now = time.time()
    rows, total = [], 0
    for entry in store.entries():
        shards = entry.shards()
        total += sum(shard.size for shard in shards)
        for tokens in sorted({shard.tokens for shard in shards}):
            chosen = [shard for shard in shards if shard.tokens == tokens]
            rows.append(
                [
                    *_names(entry),
                    tokens,
                    sum(shard.images for shard in chosen),
                    _megabytes(sum(shard.size for shard in chosen)),
                    f"{(now - entry.last_use) / DAY:.1f}",
                ]
            )
    headers = [
        *("entry", "backbone", "transform", "precision", "view"),
        *("tokens", "images", "MB", "days since use"),
    ]
    print(tabulate(rows, headers=headers, disable_numparse=True))
    print(f"{store.root}: {_megabytes(total)} MB")


def verify(store: FeatureStore) -> int:
    """Print a row for each entry, remove damaged shards, return 1 if there were any."""
    from tabulate import tabulate

    rows, count = [], 0
    for entry in store.entries():
        damaged = len(entry.remove_damaged())
        count += damaged
        rows.append([*_names(entry), len(entry.shards()), damaged])
    headers = ["entry", "backbone", "transform", "precision", "view", "whole shards", "damaged"]
    print(tabulate(rows, headers=headers, disable_numparse=True))
    if count:
        print(f"{count} damaged, removed; their images are encoded again when asked for.")
    return 1 if count else 0


def prune(store: FeatureStore, days: float | None) -> None:
    """Remove entries last used more than `days` days ago, all for None, and print what became."""
    import time

    from tabulate import tabulate

    rows, total = [], 0
    for entry in store.entries():
        if days is not None and time.time() - entry.last_use < days * DAY:
            continue
        size = sum(shard.size for shard in entry.shards())
        removed = entry.remove()
        total += size if removed else 0
        fate = "removed" if removed else "kept, in use by a writer"
        rows.append([*_names(entry), _megabytes(size), fate])
    headers = ["entry", "backbone", "transform", "precision", "view", "MB", ""]
    print(tabulate(rows, headers=headers, disable_numparse=True))
    print(f"{store.root}: {_megabytes(total)} MB removed")


def _names(entry: CacheEntry) -> list[str]:
    """Return the cells that tell entries apart."""
    described = entry.description
    view = described.get("view")
    return [
        entry.folder.name[:8],
        str(described.get("backbone", "")),
        _shortened(str(described.get("transform", ""))),
        str(described.get("precision", "")),
        "-" if view is None else str(view),
    ]


def _shortened(text: str, length: int = 32) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


if __name__ == "__main__":
    sys.exit(run_command(main))
