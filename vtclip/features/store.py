"""The feature cache on disk: its entries, their shard files, and the lock for writing.

Layout:

    <root>/<entry>/encoding.json           description; its time is that of the last use
    <root>/<entry>/<sha256>.safetensors    a shard: features of some images, named by its checksum
    <root>/<entry>.lock                    held by the process that writes to the entry

An entry holds the features of one encoding (weights, transform, precision, view). A shard is
written whole or not at all and never changed, so readers need no lock. It holds `keys` [n, 32]
(uint8, the key of each image), `global` [n, D] and, unless its `tokens` are none, `spatial`
[n, S, C].

This module does not import torch, so that the command line starts fast.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open

from vtclip.errors import UserError
from vtclip.files import atomic_path, read_json, sha256_of_file, write_json

FORMAT = 1
_DESCRIPTION = "encoding.json"
_SUFFIX = ".safetensors"
_DAMAGED = "damaged: encoding.json cannot be read"
# of a shard, and of what a killed process left of a shard or of the description
_ENTRY_NAME = re.compile(r"[0-9a-f]{32}")
_SHARD_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")
_UNFINISHED_NAME = re.compile(r"\.([0-9a-f]{64}\.safetensors|encoding\.json)\..+")


def default_root() -> Path:
    """Return $VTCLIP_CACHE, or `vtclip/features` in the user's cache folder."""
    chosen = os.environ.get("VTCLIP_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("vtclip") / "features"


@dataclass(frozen=True)
class Shard:
    """A complete shard file.

    Attributes:
        path: the file.
        tokens: kind of its spatial features: joint, backbone or none.
        images: how many images it holds.
        size: its bytes on disk.
    """

    path: Path
    tokens: str
    images: int
    size: int


class CacheEntry:
    """The cached features of one encoding.

    Args:
        folder: where its files are.
        description: identifies the encoding, by plain values.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        self.folder = folder
        self.description = dict(description)

    def metadata(self, tokens: str) -> dict[str, str]:
        """Return the metadata in the header of a shard, which shows a misplaced one."""
        # "shelf" is the word of format 1: files that exist keep their headers
        return {"shelf": self.folder.name, "tokens": tokens}

    def shards(self) -> list[Shard]:
        """Return the shards of this entry that are complete by their size; skip all other files."""
        found = (self._read_shard(path) for path in self._shard_paths())
        return [shard for shard in found if shard is not None]

    def _shard_paths(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{_SUFFIX}"))

    def _read_shard(self, path: Path) -> Shard | None:
        try:
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                images = file.get_slice("keys").get_shape()[0]
            size = path.stat().st_size
        except (SafetensorError, OSError):
            return None
        tokens = metadata.get("tokens", "")
        if metadata != self.metadata(tokens):
            return None
        return Shard(path, tokens, images, size)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of this entry, after waiting for another process that holds it.

        The system releases the lock of a process that was killed. Unfinished files of that process
        and damaged shards are removed.

        Raises:
            UserError: the folder cannot be written.
        """
        lock = FileLock(self._lock_path)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=1)
            except Timeout:
                print(f"waiting for another process that writes to {self.folder}", flush=True)
                lock.acquire()
        except (OSError, NotImplementedError) as error:
            raise UserError(
                f"{self.folder}: cannot be written ({error}); set FEATURES.ROOT, "
                "or FEATURES.CACHE False."
            ) from error
        try:
            self._remove_unfinished()
            if not (self.folder / _DESCRIPTION).exists():
                write_json(self.folder / _DESCRIPTION, self.description)
            yield
        finally:
            lock.release()

    @property
    def _lock_path(self) -> Path:
        # beside the folder: pruning the folder must not remove a lock that a process waits for
        return self.folder.parent / f"{self.folder.name}.lock"

    def _remove_unfinished(self) -> None:
        whole = {shard.path for shard in self.shards()}
        for path in self.folder.iterdir():
            if path.name.startswith(".") or (path.suffix == _SUFFIX and path not in whole):
                path.unlink(missing_ok=True)

    def add(self, content: bytes) -> None:
        """Write a shard, whole or not at all, while :meth:`writing` holds the lock.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        target = self.folder / f"{hashlib.sha256(content).hexdigest()}{_SUFFIX}"
        try:
            with atomic_path(target) as temporary:
                temporary.write_bytes(content)
        except UserError as error:
            raise UserError(
                f"{error} Set FEATURES.ROOT to another disk, or FEATURES.CACHE False."
            ) from error

    def remove_damaged(self) -> list[Path]:
        """Compare every shard with its checksum, remove the damaged ones and return them.

        Raises:
            UserError: a damaged one cannot be removed.
        """
        damaged = []
        whole = {shard.path for shard in self.shards()}
        for path in self._shard_paths():
            # another process may prune the entry meanwhile
            with suppress(FileNotFoundError):
                if path not in whole or sha256_of_file(path) != path.stem:
                    damaged.append(path)
        for path in damaged:
            _unlink(path)
        return damaged

    @property
    def last_use(self) -> float:
        """The time of the last use, in seconds since 1970; 0 for an entry that has vanished."""
        try:
            return (self.folder / _DESCRIPTION).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def mark_use(self) -> None:
        """Set the time of the last use to now, if the file can be written."""
        with suppress(OSError):
            os.utime(self.folder / _DESCRIPTION)

    def foreign(self) -> Path | None:
        """Return a path in the folder that the cache did not write, None if there is none.

        The cache writes regular files of its own names; a shard that can be read has the name of
        the entry in its header. A folder of another name is foreign itself.
        """
        if not _ENTRY_NAME.fullmatch(self.folder.name) or self.folder.is_symlink():
            return self.folder
        with suppress(FileNotFoundError):
            for path in sorted(self.folder.iterdir()):
                if path.is_symlink() or not path.is_file() or not self._is_own(path):
                    return path
        return None

    def _is_own(self, path: Path) -> bool:
        if path.name == _DESCRIPTION or _UNFINISHED_NAME.fullmatch(path.name):
            return True
        if not _SHARD_NAME.fullmatch(path.name):
            return False
        try:
            with safe_open(path, "numpy") as file:
                return (file.metadata() or {}).get("shelf") == self.folder.name
        except (SafetensorError, OSError):
            # damaged, but of a name that only the cache gives
            return True

    def remove(self) -> bool:
        """Remove the entry; return False, with nothing removed, if a process writes to it.

        Raises:
            UserError: the folder holds what the cache did not write, or a file cannot be removed.
        """
        foreign = self.foreign()
        if foreign is not None:
            raise UserError(
                f"{foreign}: not written by the feature cache, so nothing in {self.folder} is "
                "removed; move it elsewhere, or remove the folder yourself."
            )
        lock = FileLock(self._lock_path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be removed ({error}).") from error
        try:
            if not self.folder.exists():
                return True
            paths = sorted(self.folder.iterdir(), key=lambda path: path.name == _DESCRIPTION)
            # the description goes last: until then the entry is listed and can be pruned again
            for path in paths:
                _unlink(path)
            self.folder.rmdir()
        finally:
            lock.release()
        return True


class FeatureStore:
    """The feature cache on disk, shared by all runs of a user.

    Args:
        root: folder of the cache, created at the first write; None takes :func:`default_root`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root() if root is None else root

    def entry(self, key: Mapping[str, Any], **notes: str) -> CacheEntry:
        """Return the entry of an encoding, which may be empty.

        Args:
            key: identifies the encoding, by plain values.
            notes: more values for the description, which do not identify the encoding.
        """
        key = {"format": FORMAT, **key}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return CacheEntry(self.root / digest[:32], {**key, **notes})

    def entries(self) -> list[CacheEntry]:
        """Return all entries, the last used first.

        The backbone of an entry whose description is damaged says so.
        """
        found = [
            CacheEntry(path.parent, _described(path))
            for path in self.root.glob(f"*/{_DESCRIPTION}")
        ]
        return sorted(found, key=lambda entry: entry.last_use, reverse=True)


def _described(path: Path) -> Mapping[str, Any]:
    try:
        description = read_json(path)
    except UserError:
        description = None
    return description if isinstance(description, dict) else {"backbone": _DAMAGED}


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be removed ({error.strerror}).") from error
