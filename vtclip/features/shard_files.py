"""Shard files of the feature cache by their names and headers, without torch."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vtclip.features.keys import KEY_BYTES

SUFFIX = ".safetensors"
NAME = re.compile(r"[0-9a-f]{64}\.safetensors")
_FLOATS = ("F32", "BF16", "F16")
# with spatial features, and without
_TOKENS = ("joint", "backbone", "none")


@dataclass(frozen=True)
class Shard:
    """A shard file that is complete by its size.

    Attributes:
        path: the file.
        owner: name of the entry that it was written for.
        tokens: kind of its spatial features: joint, backbone or none.
        images: how many images it holds.
        size: its bytes on disk.
        modified: its time of change, in nanoseconds.
    """

    path: Path
    owner: str
    tokens: str
    images: int
    size: int
    modified: int


class Unreadable(Exception):
    """A file that is no complete safetensors file, or that the system refuses to read."""


def is_regular(path: Path) -> bool:
    """Return whether a regular file, and no symbolic link to one, is at `path`."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def shard_paths(folder: Path) -> list[Path]:
    """Return the regular files that have the name of a shard, sorted; none if there is no folder.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            names = [
                item.name
                for item in found
                if NAME.fullmatch(item.name) and item.is_file(follow_symlinks=False)
            ]
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names)]


def owner_of(path: Path) -> str | None:
    """Return the name of the entry in the header of a safetensors file, None for another file.

    Raises:
        Unreadable: see there.
    """
    try:
        with safe_open(path, "numpy") as file:
            return (file.metadata() or {}).get("shelf")
    except (SafetensorError, OSError) as error:
        raise Unreadable(str(error)) from error


def read_shard(path: Path) -> Shard | None:
    """Return what the header of a shard says; None if the file is damaged or no shard."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            return None
        with safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            arrays = {
                name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()
            }
    except (SafetensorError, OSError):
        return None
    tokens = metadata.get("tokens", "")
    if set(metadata) != {"shelf", "tokens"} or not _is_shard(arrays, tokens):
        return None
    return Shard(
        path,
        metadata["shelf"],
        tokens,
        arrays["keys"][1][0],
        found.st_size,
        found.st_mtime_ns,
    )


def _is_shard(arrays: dict[str, tuple[str, tuple[int, ...]]], tokens: str) -> bool:
    """Return whether there are keys [n, 32] uint8, global [n, D] and spatial [n, S, C]."""
    if tokens not in _TOKENS:
        return False
    dimensions = {"keys": 2, "global": 2} | ({} if tokens == "none" else {"spatial": 3})
    if {name: len(shape) for name, (_, shape) in arrays.items()} != dimensions:
        return False
    kind, (images, key_bytes) = arrays["keys"]
    features = [array for name, array in arrays.items() if name != "keys"]
    return (
        kind == "U8"
        and key_bytes == KEY_BYTES
        and images > 0
        and all(shape[0] == images and 0 not in shape for _, shape in features)
        and {kind for kind, _ in features} in ({name} for name in _FLOATS)
    )
