"""Keys that identify images in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from vtclip.errors import UserError, unknown_name
from vtclip.files import require_file, sha256_of_file
from vtclip.kept import kept_of_file

KeyKind = Literal["content", "stat"]

KEY_BYTES = 32


def image_keys(paths: Sequence[Path], kind: KeyKind) -> list[bytes]:
    """Return the key, 32 bytes, of each image file.

    Args:
        paths: the files.
        kind: "content" takes the SHA-256 of a file's bytes, which reads them all; "stat" that of
            its absolute path, size and time of change, which is fast on slow disks, but misses a
            change that keeps all three.

    Raises:
        UserError: a file is missing or unreadable, or the kind is unknown.
    """
    kinds = {"content": _content_key, "stat": _stat_key}
    if kind not in kinds:
        raise unknown_name("FEATURES.KEY", kind, kinds)
    # reading and hashing release the interpreter
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(kinds[kind], paths))


def _content_key(path: Path) -> bytes:
    try:
        require_file(path)
        return bytes.fromhex(kept_of_file("sha256", path, sha256_of_file))
    except OSError as error:
        raise unreadable(path, error) from error


def _stat_key(path: Path) -> bytes:
    try:
        found = require_file(path)
    except OSError as error:
        raise unreadable(path, error) from error
    text = f"stat\0{path.absolute()}\0{found.st_size}\0{found.st_mtime_ns}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the error for an image file that the system refuses to read."""
    return UserError(f"{path}: cannot be read ({error.strerror}).")
