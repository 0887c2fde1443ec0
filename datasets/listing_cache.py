"""Listings of class folders that are remembered from run to run.

A listing of 1.28 million files takes minutes on a slow disk. Each folder's names are kept with the
folder's time of change, so that only folders in which files came or went are listed again.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from platformdirs import user_cache_path

from vtclip.errors import UserError
from vtclip.files import write_text

from .listing import files, subfolders

# within this time of a change another one may leave the same time behind
SETTLED_NS = 2_000_000_000


def cache_folder() -> Path:
    """Return the folder of remembered listings."""
    return user_cache_path("vtclip") / "listings"


def _read(path: Path) -> dict[str, tuple[int, list[str]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return {name: (changed, names) for name, changed, names in map(json.loads, lines)}
    except (OSError, ValueError, TypeError):
        # absent or spoilt: what it remembers can be listed again
        return {}


def list_class_folders(folder: Path) -> dict[str, list[str]]:
    """Return the file names in each folder of `folder`, everything sorted.

    Raises:
        UserError: `folder` or one in it cannot be listed.
    """
    key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()
    cache = cache_folder() / f"{key}.jsonl"
    known = _read(cache)
    found: dict[str, list[str]] = {}
    remembered: list[str] = []
    now = time.time_ns()
    fresh = False
    for name in subfolders(folder):
        changed = (folder / name).stat().st_mtime_ns
        if name in known and known[name][0] == changed:
            found[name] = known[name][1]
        else:
            found[name] = files(folder / name)
            fresh = True
        if now - changed > SETTLED_NS:
            remembered.append(json.dumps([name, changed, found[name]]))
    if fresh and remembered:
        try:
            write_text(cache, "\n".join(remembered) + "\n")
        except UserError as error:
            print(f"The listing of {folder} is not remembered: {error}")
    return found
