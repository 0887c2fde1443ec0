"""Which shards of a cache entry were compared with their checksum, so that it is done once."""

from __future__ import annotations

from pathlib import Path

from vtclip.errors import UserError
from vtclip.features.shard_files import Shard, is_regular
from vtclip.files import read_json, write_json

FILE = "checked.json"
LARGEST_BYTES = 1 << 24


class CheckedShards:
    """The record of checked shards in the folder of an entry, by name, size and time of change.

    A record that is absent, damaged or cannot be written costs another check, nothing else.

    Args:
        folder: of the entry.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._known = self._read()
        self._new: dict[str, list[int]] = {}

    def _read(self) -> dict[str, list[int]]:
        try:
            if not is_regular(self._path) or self._path.stat().st_size > LARGEST_BYTES:
                return {}
            known = read_json(self._path)
        except (OSError, UserError):
            return {}
        return known if isinstance(known, dict) else {}

    def __contains__(self, shard: Shard) -> bool:
        """Return whether the shard was checked since it has its size and time of change."""
        return self._known.get(shard.path.name) == [shard.size, shard.modified]

    def add(self, shard: Shard) -> None:
        """Note that a shard was checked."""
        self._known[shard.path.name] = self._new[shard.path.name] = [shard.size, shard.modified]

    def save(self) -> None:
        """Write what was noted, with what other processes have written since.

        Hold the lock of the entry meanwhile.

        Raises:
            UserError: it cannot be written.
        """
        present = {**self._read(), **self._new}
        folder = self._path.parent
        write_json(self._path, {n: s for n, s in present.items() if (folder / n).exists()})
        self._new = {}

    @property
    def is_saved(self) -> bool:
        """Whether nothing was noted since the record was written."""
        return not self._new
