"""Features in shard files: read through a memory map, written one shard at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vtclip.errors import UserError
from vtclip.features.keys import KEY_BYTES
from vtclip.features.shard_files import Shard
from vtclip.features.source import rows_of
from vtclip.features.store import CacheEntry
from vtclip.image_features import Features

# a shard is written when it has this size, or after this time: a killed run loses at most that much
SHARD_BYTES = 1 << 27
SHARD_SECONDS = 60.0


class StoredFeatures:
    """Features of a list of images in a cache entry (see :class:`FeatureSource`).

    Shards are mapped into memory: a fetch reads only its rows, and spatial features only if they
    are wanted. A mapped shard stays readable after its file was removed.

    Args:
        entry: the cache entry.
        keys: the keys of the N images.
        tokens: kind of spatial features wanted; None for global features alone, which every
            shard has.

    Attributes:
        missing: rows of the images that the entry lacks, one row per image.

    Raises:
        UserError: a shard holds values that cannot be computed with. (One whose bytes are not
            those that were written is passed over, with a printed line.)
    """

    def __init__(self, entry: CacheEntry, keys: Sequence[bytes], tokens: str | None) -> None:
        self._shards: list[Features] = []
        places: dict[bytes, tuple[int, int]] = {}
        checked = entry.checked
        shapes: dict[str, list[int]] = {}
        for shard in entry.shards():
            if tokens is not None and shard.tokens != tokens:
                continue
            try:
                if shard not in checked:
                    if entry.is_spoilt(shard):
                        continue
                    require_usable(shard)
                    checked.add(shard)
                found, features = map_shard(shard, spatial=tokens is not None)
            except (OSError, SafetensorError):  # pruned or replaced since it was listed
                continue
            wanted = {"global": features.global_features, "spatial": features.spatial_features}
            for name, values in wanted.items():
                if values is None:
                    continue
                shape = list(values.shape[1:])
                # files are named by checksums: another program made one of the two
                if shapes.setdefault(name, shape) != shape:
                    raise UserError(
                        f"{shard.path}: {name} features of shape {shape}, but {shapes[name]} in "
                        "another shard of the entry; remove one of them."
                    )
            self._shards.append(features)
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
        """Read rows from disk, or from the file cache of the system."""
        shards, places = self._places[rows].unbind(1)
        spatial = [
            shard.spatial_features for shard in self._shards if shard.spatial_features is not None
        ]
        return Features(
            rows_of([shard.global_features for shard in self._shards], shards, places),
            rows_of(spatial, shards, places) if spatial else None,
        )


def map_shard(shard: Shard, *, spatial: bool) -> tuple[bytes, Features]:
    """Return the keys of a shard, 32 bytes per image, and its features, mapped into memory.

    Raises:
        OSError, SafetensorError: the file cannot be read.
    """
    with safe_open(shard.path, "pt") as file:
        keys = file.get_tensor("keys").numpy().tobytes()
        return keys, Features(
            file.get_tensor("global"), file.get_tensor("spatial") if spatial else None
        )


def require_usable(shard: Shard) -> None:
    """Check the values of a shard.

    Raises:
        UserError: some are not finite, or their squares overflow.
        OSError, SafetensorError: the file cannot be read.
    """
    keys, features = map_shard(shard, spatial=shard.tokens != "none")
    fault = features.fault()
    if fault is not None:
        what, row = fault
        key = keys[row * KEY_BYTES : (row + 1) * KEY_BYTES].hex()
        raise UserError(
            f"{shard.path}: {what} (row {row}, the image with the key {key[:12]}); remove the "
            "file, and its images are encoded again."
        )


class ShardWriter:
    """Collects batches of features and writes them as shards of a cache entry.

    Use it while :meth:`CacheEntry.writing` holds the lock, and call :meth:`flush` at the end.
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
        """Add a batch, on the CPU and in the stored type; write a shard if it is large enough.

        Raises:
            UserError: a shard cannot be written.
        """
        self._keys += keys
        self._parts.append(features)
        self._bytes += features.nbytes
        if self._bytes >= SHARD_BYTES or time.monotonic() - self._since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the batches since the last shard as a shard.

        Raises:
            UserError: it cannot be written.
        """
        if not self._keys:
            return
        joined = Features.cat(self._parts)
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
