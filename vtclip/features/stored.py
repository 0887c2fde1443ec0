"""Features in shard files: read through a memory map, written a shard at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from vtclip.features.keys import KEY_BYTES
from vtclip.features.source import Features, MemoryFeatures, concatenate, fetch_grouped
from vtclip.features.store import CacheEntry

# a shard is written when it is this large, or its first image this old: what a kill can cost
SHARD_BYTES = 1 << 27
SHARD_SECONDS = 60.0


class StoredFeatures:
    """Features of a list of images on an entry (see :class:`FeatureSource`).

    Shards stay mapped, not read: a fetch reads its rows alone, and global features without the
    spatial ones beside them. Mapped shards outlive their removal from the folder.

    Args:
        entry: where to look.
        keys: identifies each of N images.
        tokens: kind of spatial features wanted; None for the global features alone, which any
            shard has.

    Attributes:
        missing: rows of images that the entry does not have, each image once.
    """

    def __init__(self, entry: CacheEntry, keys: Sequence[bytes], tokens: str | None) -> None:
        self._shards: list[MemoryFeatures] = []
        places: dict[bytes, tuple[int, int]] = {}
        for shard in entry.shards():
            if tokens is not None and shard.tokens != tokens:
                continue
            try:
                with safe_open(shard.path, "pt") as file:
                    found = file.get_tensor("keys").numpy().tobytes()
                    spatial = None if tokens is None else file.get_tensor("spatial")
                    self._shards.append(MemoryFeatures(file.get_tensor("global"), spatial))
            except FileNotFoundError:  # pruned since it was listed
                continue
            for row in range(shard.images):
                key = found[row * KEY_BYTES : (row + 1) * KEY_BYTES]
                places[key] = (len(self._shards) - 1, row)
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        self.missing = sorted(row for key, row in first.items() if key not in places)
        self._places = torch.tensor([places.get(key, (-1, -1)) for key in keys])

    def __len__(self) -> int:
        """Return N."""
        return len(self._places)

    def fetch(self, rows: Tensor) -> Features:
        """Read rows from the disk, or from what the system still holds of it."""
        shards, places = self._places[rows].unbind(1)
        return fetch_grouped(self._shards, shards, places)


class ShardWriter:
    """Gathers features of single images into shards of an entry.

    Call it in :meth:`CacheEntry.writing`; what was added since the last shard is lost unless
    :meth:`flush` is called.
    """

    def __init__(self, entry: CacheEntry, tokens: str | None) -> None:
        self._entry = entry
        self._metadata = entry.metadata(tokens or "none")
        self._start()

    def _start(self) -> None:
        self._keys: list[bytes] = []
        self._parts: list[Features] = []
        self._bytes = 0
        self._since = time.monotonic()

    def add(self, keys: Sequence[bytes], features: Features) -> None:
        """Add a batch, on the CPU and in the type to store.

        Raises:
            UserError: a shard was due and cannot be written.
        """
        self._keys += keys
        self._parts.append(features)
        self._bytes += sum(0 if tensor is None else tensor.nbytes for tensor in features)
        if self._bytes >= SHARD_BYTES or time.monotonic() - self._since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was added as a shard.

        Raises:
            UserError: it cannot be written.
        """
        if not self._keys:
            return
        joined = concatenate(self._parts)
        tensors = {
            "keys": torch.frombuffer(bytearray(b"".join(self._keys)), dtype=torch.uint8).view(
                -1, KEY_BYTES
            ),
            "global": joined.global_features,
        }
        if joined.spatial_features is not None:
            tensors["spatial"] = joined.spatial_features
        self._entry.add(save(tensors, self._metadata))
        self._start()
