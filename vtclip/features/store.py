"""The feature cache on disk: its entries, their shard files, and the lock for writing.

Layout::

    <root>/<entry>/encoding.json           description; its time is that of the last use
    <root>/<entry>/<sha256>.safetensors    a shard: features of some images, named by its checksum
    <root>/<entry>/checked.json            shards that were compared with their checksum
    <root>/<entry>.lock                    held by the process that writes to the entry

An entry holds the features of one encoding (weights, transform, precision, view). A shard is
written whole or not at all and never changed, so readers need no lock. It holds `keys` [n, 32]
(uint8, the key of each image), `global` [n, D] and, unless its `tokens` are none, `spatial`
[n, S, C].

This module does not import torch, so that the command line starts fast.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from vtclip.errors import UserError
from vtclip.features.checked import FILE as CHECKED
from vtclip.features.checked import CheckedShards
from vtclip.features.description import FILE as DESCRIPTION
from vtclip.features.description import digest_of, is_ours, read_description, set_aside
from vtclip.features.shard_files import (
    NAME,
    SUFFIX,
    Shard,
    Unreadable,
    is_regular,
    owner_of,
    read_shard,
    shard_paths,
)
from vtclip.files import atomic_path, sha256_of_file, user_path, write_json
from vtclip.screen import say
from vtclip.user_folders import user_cache

FORMAT = 1
DAMAGED = "damaged: encoding.json is not what was written"
_ENTRY_NAME = re.compile(r"[0-9a-f]{32}")
# what a killed process left of a shard or of the description
_UNFINISHED_NAME = re.compile(r"\.([0-9a-f]{64}\.safetensors|encoding\.json|checked\.json)\..+")

WAY_OUT = "set FEATURES.ROOT to another folder, or FEATURES.CACHE False"

Removal = Literal["removed", "in use", "gone"]


def default_root() -> Path:
    """Return $VTCLIP_CACHE, or `vtclip/features` in the user's cache folder.

    Raises:
        UserError: the user has no home folder.
    """
    chosen = os.environ.get("VTCLIP_CACHE")
    if chosen:
        return user_path(chosen, "VTCLIP_CACHE")
    return (
        user_cache("VTCLIP_CACHE or FEATURES.ROOT to a folder, or FEATURES.CACHE False")
        / "features"
    )


class CacheEntry:
    """The cached features of one encoding.

    Args:
        folder: where its files are.
        description: identifies the encoding, by plain values.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        self.folder = folder
        self.description = dict(description)
        self._spoilt: set[Path] = set()

    @cached_property
    def checked(self) -> CheckedShards:
        """The record of the shards that were compared with their checksum."""
        return CheckedShards(self.folder)

    def is_spoilt(self, shard: Shard) -> bool:
        """Return whether a shard differs from its checksum; print a line if so.

        The next writer removes it, if it has this object or the file cannot be read.

        Raises:
            OSError: it cannot be read.
        """
        if shard.path not in self._spoilt and sha256_of_file(shard.path) != shard.path.stem:
            say(
                f"{shard.path}: damaged (it differs from its checksum), not used; its images are "
                "encoded again."
            )
            self._spoilt.add(shard.path)
        return shard.path in self._spoilt

    def metadata(self, tokens: str) -> dict[str, str]:
        """Return the metadata in the header of a shard, which shows a misplaced one."""
        # "shelf" is the word of format 1: files that exist keep their headers
        return {"shelf": self.folder.name, "tokens": tokens}

    def shards(self) -> list[Shard]:
        """Return the shards of this entry that are complete by their size; skip all other files.

        Raises:
            UserError: the folder cannot be read.
        """
        found = (read_shard(path) for path in self._shard_paths())
        return [shard for shard in found if shard is not None and shard.owner == self.folder.name]

    def _shard_paths(self) -> list[Path]:
        try:
            return shard_paths(self.folder)
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot be read ({error.strerror}); {WAY_OUT}."
            ) from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of this entry, after waiting for another process that holds it.

        The system releases the lock of a process that was killed. Unfinished files of that process
        and damaged shards are removed.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=1)
            except Timeout:
                say(f"waiting for another process that writes to {self.folder}")
                self._lock.acquire()
        except (OSError, NotImplementedError) as error:
            raise self._unwritable(error) from error
        try:
            try:
                # not before: a process that prunes could remove it until the lock is held
                self.folder.mkdir(exist_ok=True)
                self._remove_unfinished()
                self._describe()
            except OSError as error:
                raise self._unwritable(error) from error
            yield
        finally:
            self._lock.release()

    @cached_property
    def _lock(self) -> FileLock:
        # one object, so that a process which holds it can acquire it again
        return FileLock(self._lock_path)

    @property
    def _lock_path(self) -> Path:
        # beside the folder: pruning the folder must not remove a lock that a process waits for
        return self.folder.parent / f"{self.folder.name}.lock"

    def _unwritable(self, error: Exception) -> UserError:
        reason = error.strerror if isinstance(error, OSError) else None
        return UserError(f"{self.folder}: cannot be written ({reason or error}); {WAY_OUT}.")

    def _remove_unfinished(self) -> None:
        for path in self.folder.iterdir():
            if _UNFINISHED_NAME.fullmatch(path.name) and is_regular(path):
                path.unlink(missing_ok=True)
        for path in self._shard_paths():
            if self._is_damaged(path) or path in self._spoilt:
                path.unlink(missing_ok=True)
        self._spoilt.clear()

    def _is_damaged(self, path: Path) -> bool:
        """Return whether a file with the name of a shard is neither whole nor of another entry."""
        with suppress(FileNotFoundError):
            before = path.lstat()
            try:
                damaged = owner_of(path) == self.folder.name and read_shard(path) is None
            except Unreadable:
                damaged = True
            # another process may prune it meanwhile, and a third one write it again
            return damaged and os.path.samestat(before, path.lstat())
        return False

    def _describe(self) -> None:
        """Write the description, if it is absent or damaged."""
        path = self.folder / DESCRIPTION
        if self.is_described():
            return
        if os.path.lexists(path):
            say(f"{path}: damaged; {set_aside(path)}, and it is written anew.")
        with self._saying_the_way_out():
            write_json(path, self.description)

    def keep_records(self) -> None:
        """Write a damaged description anew, and which shards were checked.

        Nothing is done where the folder cannot be written, or while another process writes to it.
        """
        if self.is_described() and self.checked.is_saved:
            return
        # a Timeout is an OSError
        with suppress(OSError, NotImplementedError, UserError), self._lock.acquire(timeout=0):
            # one that was pruned is not made again
            if self.folder.is_dir():
                self._describe()
                if not self.checked.is_saved:
                    self.checked.save()

    def is_described(self) -> bool:
        """Return whether the description on disk is that of this entry."""
        found = read_description(self.folder)
        return found is not None and digest_of(found) == self.folder.name

    @contextmanager
    def _saying_the_way_out(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            way_out = WAY_OUT[0].upper() + WAY_OUT[1:]
            raise UserError(f"{error} {way_out}.") from error

    def add(self, content: bytes) -> None:
        """Write a shard, whole or not at all, while :meth:`writing` holds the lock.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        target = self.folder / f"{hashlib.sha256(content).hexdigest()}{SUFFIX}"
        with self._saying_the_way_out(), atomic_path(target) as temporary:
            temporary.write_bytes(content)
        shard = read_shard(target)
        if shard is not None:
            self.checked.add(shard)

    def remove_damaged(self) -> list[Path]:
        """Compare every shard with its checksum, remove the damaged ones and return them.

        Raises:
            UserError: a damaged one cannot be removed.
        """
        damaged = []
        if not self._is_recognised():
            return []
        whole = {shard.path for shard in self.shards()}
        for path in self._shard_paths():
            # another process may prune the entry meanwhile
            with suppress(FileNotFoundError):
                broken = path in whole and sha256_of_file(path) != path.stem
                if broken or self._is_damaged(path):
                    damaged.append(path)
        for path in damaged:
            _unlink(path)
        return damaged

    @property
    def last_use(self) -> float:
        """The time of the last use, in seconds since 1970; 0 for an entry that has vanished."""
        for path in (self.folder / DESCRIPTION, self.folder):
            with suppress(OSError):
                return path.lstat().st_mtime
        return 0.0

    def mark_use(self) -> None:
        """Set the time of the last use to now, if the file can be written."""
        with suppress(OSError):
            os.utime(self.folder / DESCRIPTION, follow_symlinks=False)

    def _is_recognised(self) -> bool:
        """Return whether the description or the header of a shard gives the name of the folder."""
        return self._is_named() and (self.is_described() or bool(self.shards()))

    def _is_named(self) -> bool:
        named = _ENTRY_NAME.fullmatch(self.folder.name) is not None
        return named and not self.folder.is_symlink()

    def foreign(self) -> Path | None:
        """Return a path in the folder that the cache did not write, None if there is none.

        The cache writes regular files of its own names. At least one of them, the description or
        a shard, must lead to the name of the folder: then the cache made it, and files of
        its names that are damaged are its own. Otherwise the folder itself is foreign.

        Raises:
            UserError: the folder cannot be read.
        """
        if not self._is_recognised():
            return self.folder
        return next((path for path in self._paths() if not self._is_own(path)), None)

    def _paths(self) -> list[Path]:
        """Return what is in the folder, the description last."""
        try:
            paths = list(self.folder.iterdir())
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be read ({error.strerror}).") from error
        return sorted(paths, key=lambda path: (path.name == DESCRIPTION, path))

    def _is_own(self, path: Path) -> bool:
        if not is_regular(path):
            # a file that another process has removed since it was listed is no other one's
            return not os.path.lexists(path)
        if path.name == DESCRIPTION:
            return is_ours(self.folder)
        if path.name == CHECKED:
            return True
        if not NAME.fullmatch(path.name):
            return _UNFINISHED_NAME.fullmatch(path.name) is not None
        try:
            return owner_of(path) == self.folder.name
        except Unreadable:
            return True

    def remove(self) -> Removal:
        """Remove the entry.

        Returns:
            "in use", with nothing removed, if a process writes to it; "gone" if there is none.

        Raises:
            UserError: the folder holds what the cache did not write, or a file cannot be removed.
        """
        if not os.path.lexists(self.folder):
            return "gone"
        # no lock is made beside another one's folder; where there is one, another process may be
        # half through with writing or removing, and only what is seen under the lock counts
        if not self._is_named() or not self._lock_path.exists():
            self._require_own()
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return "in use"
        except (OSError, NotImplementedError) as error:
            raise UserError(f"{self.folder}: cannot be removed ({error}).") from error
        try:
            if not os.path.lexists(self.folder):
                return "gone"
            self._require_own()
            # the description goes last: until then the entry is listed and can be pruned again
            for path in self._paths():
                _unlink(path)
            with suppress(FileNotFoundError):
                self.folder.rmdir()
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be removed ({error.strerror}).") from error
        finally:
            self._lock.release()
        return "removed"

    def _require_own(self) -> None:
        foreign = self.foreign()
        if foreign is not None:
            raise UserError(
                f"{foreign}: not written by the feature cache, so nothing in {self.folder} is "
                "removed; move it elsewhere, or remove the folder yourself."
            )


class FeatureStore:
    """The feature cache on disk, shared by all runs of a user.

    Args:
        root: folder of the cache, created at the first write; None takes :func:`default_root`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root() if root is None else root

    def entry(self, key: Mapping[str, Any], *, backbone: str) -> CacheEntry:
        """Return the entry of an encoding, which may be empty.

        Args:
            key: identifies the encoding, by plain values.
            backbone: its name, for the description; it does not identify the encoding.
        """
        key = {"format": FORMAT, **key}
        return CacheEntry(self.root / digest_of(key), {**key, "backbone": backbone})

    def entries(self) -> list[CacheEntry]:
        """Return all entries, the last used first.

        These are the folders with a description, and those with the name of an entry and a file
        with the name of a shard. The backbone of an entry whose description is damaged says so.

        Raises:
            UserError: the root cannot be read.
        """
        try:
            with os.scandir(self.root) as found:
                folders = [self.root / item.name for item in found if item.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(
                f"{self.root}: cannot be read ({error.strerror}); set --root, or VTCLIP_CACHE "
                "(FEATURES.ROOT of a run), to another folder."
            ) from error
        found_entries = [self._found(folder) for folder in sorted(folders) if _is_entry(folder)]
        return sorted(found_entries, key=lambda entry: entry.last_use, reverse=True)

    def _found(self, folder: Path) -> CacheEntry:
        entry = CacheEntry(folder, read_description(folder) or {})
        return entry if entry.is_described() else CacheEntry(folder, {"backbone": DAMAGED})


def _is_entry(folder: Path) -> bool:
    if os.path.lexists(folder / DESCRIPTION):
        return True
    with suppress(OSError):
        return bool(_ENTRY_NAME.fullmatch(folder.name) and shard_paths(folder))
    return False


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be removed ({error.strerror}).") from error
