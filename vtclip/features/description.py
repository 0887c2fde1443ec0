"""The file encoding.json of a cache entry, which may be damaged or another program's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vtclip.errors import UserError
from vtclip.features.shard_files import is_regular
from vtclip.files import read_json

FILE = "encoding.json"
LARGEST_BYTES = 1 << 20
# written for people, and no part of the name of the entry
NOTES = ("backbone",)
_KEYS = {"format", "weights", "transform", "precision", "view"}


def digest_of(description: Mapping[str, Any]) -> str:
    """Return the name of the entry that a description identifies, 32 hexadecimal digits.

    >>> digest_of({"view": 0, "backbone": "RN50"}) == digest_of({"view": 0})
    True
    """
    key = {name: value for name, value in description.items() if name not in NOTES}
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def read_description(folder: Path) -> dict[str, Any] | None:
    """Return the description in the folder of an entry, None where it is absent or damaged."""
    found = _read(folder / FILE)
    if not isinstance(found, dict) or any(isinstance(v, list | dict) for v in found.values()):
        return None
    return found


def is_ours(folder: Path) -> bool:
    """Return whether the cache may have written the description: damaged, or with a key of it."""
    found = _read(folder / FILE)
    return not isinstance(found, dict) or not _KEYS.isdisjoint(found)


def _read(path: Path) -> Any:
    # a pipe is opened for ever
    if not is_regular(path):
        return None
    try:
        return read_json(path) if path.stat().st_size <= LARGEST_BYTES else None
    except (OSError, UserError):
        return None


def set_aside(path: Path) -> str:
    """Make room for a new description.

    A file is replaced by the new one; anything else is renamed, since the cache did not make it.

    Returns:
        What was done, for a message.

    Raises:
        OSError: it cannot be renamed.
    """
    if is_regular(path):
        return "it is replaced"
    target, number = path.with_name(f"{FILE}.aside"), 1
    while target.is_symlink() or target.exists():
        number += 1
        target = path.with_name(f"{FILE}.aside{number}")
    path.rename(target)
    return f"it is now {target.name}"
