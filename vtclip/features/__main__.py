"""`python -m vtclip.features`: list, verify and prune the feature cache."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vtclip.commands.calls import how_to_call
from vtclip.errors import UserError, run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtclip.features.shard_files import Shard
    from vtclip.features.store import CacheEntry, FeatureStore

DAY = 86400.0
# headers of the cells of `_identity`
IDENTITY = ("entry", "backbone", "transform", "precision", "view")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=how_to_call("features"), description="The feature cache on disk."
    )
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="folder of the feature cache (default: $VTCLIP_CACHE, or the user's cache folder)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", parents=[root], help="the cache entries, their size and last use")
    commands.add_parser("verify", parents=[root], help="compare checksums and remove damaged files")
    prune = commands.add_parser("prune", parents=[root], help="remove cache entries")
    which = prune.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--older-than", type=days, metavar="DAYS", help="entries not used for more than DAYS days"
    )
    which.add_argument("--all", action="store_true", help="all entries")
    return parser.parse_args(arguments)


def days(text: str) -> float:
    """Return a number of days, at least 0.

    >>> days("1.5")
    1.5
    """
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 0 on")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Returns:
        1 if verify found damage, or prune kept a folder with files that the cache did not write.
    """
    parsed = parse(arguments)
    # after parsing, so that --help is immediate
    from vtclip.features.store import FeatureStore

    store = FeatureStore(parsed.root)
    if parsed.command == "ls":
        list_entries(store)
        return 0
    if parsed.command == "verify":
        return verify(store)
    return prune(store, None if parsed.all else parsed.older_than)


def list_entries(store: FeatureStore) -> None:
    """Print one row per entry and kind of tokens."""
    import time

    from tabulate import tabulate

    now = time.time()
    rows, total = [], 0
    for entry in store.entries():
        shards = _shards(entry)
        total += sum(shard.size for shard in shards)
        for tokens in sorted({shard.tokens for shard in shards}) or ["-"]:
            chosen = [shard for shard in shards if shard.tokens == tokens]
            rows.append(
                [
                    *_identity(entry),
                    tokens,
                    sum(shard.images for shard in chosen),
                    _megabytes(sum(shard.size for shard in chosen)),
                    f"{(now - entry.last_use) / DAY:.1f}",
                ]
            )
    headers = [*IDENTITY, "tokens", "images", "MB", "days since use"]
    print(tabulate(rows, headers=headers, disable_numparse=True))
    print(f"{store.root}: {_megabytes(total)} MB")


def verify(store: FeatureStore) -> int:
    """Print one row per entry and remove damaged shards; return 1 if there were any."""
    from tabulate import tabulate

    rows, count = [], 0
    for entry in store.entries():
        damaged = len(entry.remove_damaged())
        count += damaged
        rows.append([*_identity(entry), len(entry.shards()), damaged])
    headers = [*IDENTITY, "good shards", "damaged"]
    print(tabulate(rows, headers=headers, disable_numparse=True))
    if count:
        print(f"Damaged shards removed: {count}. Their images are encoded again when needed.")
    return 1 if count else 0


def prune(store: FeatureStore, days: float | None) -> int:
    """Remove entries not used for more than `days` days (None: all); print one row per entry.

    Returns:
        1 if an entry was kept because its folder holds what the cache did not write, else 0.
    """
    import time

    from tabulate import tabulate

    rows, total = [], 0
    refused: list[UserError] = []
    for entry in store.entries():
        if days is not None and time.time() - entry.last_use < days * DAY:
            continue
        size = 0
        try:
            size = sum(shard.size for shard in entry.shards())
            removal = entry.remove()
        except UserError as error:
            refused.append(error)
            rows.append([*_identity(entry), _megabytes(size), "kept, see below"])
            continue
        if removal == "gone":
            continue
        total += size if removal == "removed" else 0
        outcome = "removed" if removal == "removed" else "kept, in use by a writer"
        rows.append([*_identity(entry), _megabytes(size), outcome])
    headers = [*IDENTITY, "MB", "outcome"]
    print(tabulate(rows, headers=headers, disable_numparse=True))
    print(f"{store.root}: {_megabytes(total)} MB removed")
    for refusal in refused:
        print(f"error: {refusal}", file=sys.stderr)
    return 1 if refused else 0


def _shards(entry: CacheEntry) -> list[Shard]:
    """Return the shards of an entry, none where its folder cannot be read."""
    try:
        return entry.shards()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return []


def _identity(entry: CacheEntry) -> list[str]:
    """Return the cells that identify an entry."""
    from vtclip.features.store import DAMAGED

    described = entry.description
    view = described.get("view")
    name = entry.folder.name
    return [
        # whole where somebody must look into the folder
        _shortened(name, 80) if described.get("backbone") == DAMAGED else name[:8],
        _shortened(str(described.get("backbone", "")), 64),
        _shortened(str(described.get("transform", ""))),
        _shortened(str(described.get("precision", ""))),
        "-" if view is None else _shortened(str(view)),
    ]


def _shortened(text: str, length: int = 32) -> str:
    # some terminals obey what cannot be printed
    text = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return text if len(text) <= length else text[: length - 1] + "…"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


if __name__ == "__main__":
    sys.exit(run_command(main))
