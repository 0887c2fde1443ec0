"""Listings of class folders that are remembered from run to run.

A listing of 1.28 million files takes minutes on a slow disk. Each folder's names are kept with the
folder's time of change, so that only folders in which files came or went are listed again.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from vtclip.errors import UserError
from vtclip.files import write_text
from vtclip.screen import say
from vtclip.user_folders import user_cache

from .listing import files, subfolders

# within this time of a change another one may leave the same time behind
SETTLED_NS = 2_000_000_000


def cache_folder() -> Path | None:
    """Return the folder of remembered listings, None where the user has no home folder."""
    try:
        return user_cache("XDG_CACHE_HOME") / "listings"
    except UserError:
        return None


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
    remembered = cache_folder()
    cache = None if remembered is None else remembered / f"{key}.jsonl"
    known = {} if cache is None else _read(cache)
    now = time.time_ns()
    entries: dict[str, tuple[int, list[str]]] = {}
    for name in subfolders(folder):
        changed = (folder / name).stat().st_mtime_ns
        entry = known.get(name)
        entries[name] = entry if entry and entry[0] == changed else (changed, files(folder / name))
    settled = {name: entry for name, entry in entries.items() if now - entry[0] > SETTLED_NS}
    if cache is not None and settled and settled != known:
        lines = (json.dumps([name, *entry]) + "\n" for name, entry in settled.items())
        try:
            write_text(cache, "".join(lines))
        except UserError as error:
            say(f"The listing of {folder} is not remembered: {error}")
    return {name: names for name, (_, names) in entries.items()}
