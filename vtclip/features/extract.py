"""The features of a list of image files: encoded on the fly, from memory or from disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vtclip.errors import UserError
from vtclip.features.encoding import Encoding
from vtclip.features.images import lost_workers_in_one_line
from vtclip.features.keys import KeyKind, image_keys
from vtclip.features.on_the_fly import OnTheFlyFeatures
from vtclip.features.source import FeatureSource, MemoryFeatures
from vtclip.features.store import CacheEntry, FeatureStore
from vtclip.features.stored import ShardWriter, StoredFeatures
from vtclip.image_features import Features
from vtclip.screen import progress as shown_progress
from vtclip.screen import say

# features larger than this many bytes are announced before they go to disk, and not held in memory
LARGE = 10**9


def image_features(
    paths: Sequence[Path],
    encoding: Encoding,
    *,
    cache: FeatureStore | None,
    key: KeyKind = "content",
    batch_size: int = 64,
    workers: int | None = None,
    progress: bool = True,
    desc: str = "images",
) -> FeatureSource:
    """Return the features of a list of images.

    With a cache, images that it lacks are encoded and written to it first. If several processes
    need the same features, one encodes and the others wait. No number is drawn from torch's global
    generator.

    Args:
        paths: N image files.
        encoding: how they become features.
        cache: where features are kept on disk; None encodes the list once and holds the features
            in memory up to 1 GB, and encodes at every fetch above that.
        key: how images are identified in the cache (see :func:`vtclip.features.keys.image_keys`).
        batch_size: images per batch of the encoder.
        workers: processes that read images ahead; None takes one per core, at most 8.
        progress: show how far it is.
        desc: what is encoded.

    Raises:
        UserError: an image cannot be read, the cache cannot be written, the disk is too small, or
            a worker process was killed.
        ValueError: no images.
    """
    if not paths:
        raise ValueError("no images")
    if workers is None:
        workers = min(8, os.cpu_count() or 1)
    if cache is None:
        on_the_fly = OnTheFlyFeatures(paths, encoding, batch_size, workers)
        size = on_the_fly.bytes_per_image() * len(paths)
        if size > LARGE:
            say(f"{desc}: {size / 1e9:.1f} GB of features, encoded again in every epoch.")
            return on_the_fly
        with lost_workers_in_one_line():
            parts = [part for _, part in _encode_all(on_the_fly, progress, desc)]
        return MemoryFeatures(Features.cat(parts))

    keys = image_keys(paths, key)
    entry = cache.entry(encoding.describe(), backbone=encoding.backbone.name)
    stored = StoredFeatures(entry, keys, encoding.tokens)
    if stored.missing:
        with entry.writing():
            # another process may have written them while this one waited
            missing = StoredFeatures(entry, keys, encoding.tokens).missing
            if missing:
                new_keys = [keys[row] for row in missing]
                on_the_fly = OnTheFlyFeatures(
                    [paths[row] for row in missing],
                    encoding,
                    batch_size,
                    workers,
                    new_keys if key == "content" else None,
                )
                _check_room(entry, on_the_fly.bytes_per_image() * len(missing), desc)
                writer = ShardWriter(entry, encoding.tokens)
                with lost_workers_in_one_line():
                    for rows, features in _encode_all(on_the_fly, progress, desc):
                        writer.add([new_keys[row] for row in rows.tolist()], features)
                writer.flush()
            stored = StoredFeatures(entry, keys, encoding.tokens)
    entry.keep_records()
    entry.mark_use()
    return stored


def _encode_all(
    on_the_fly: OnTheFlyFeatures, shown: bool, desc: str
) -> Iterator[tuple[Tensor, Features]]:
    """Yield rows and features of all images, on the CPU and in the type they are kept in."""
    batches = torch.split(torch.arange(len(on_the_fly)), on_the_fly.batch_size)
    with shown_progress(f"encoding {desc}", len(on_the_fly), "images", shown=shown) as bar:
        for rows, features in zip(batches, on_the_fly.stream(batches), strict=True):
            # exact: encode_batch has rounded to this type
            yield rows, features.to("cpu", on_the_fly.encoding.dtype)
            bar.advance(len(rows))


def _check_room(entry: CacheEntry, size: int, desc: str) -> None:
    """Announce a large write, and refuse one that does not fit on the disk."""
    if size > LARGE:
        say(
            f"{desc}: {size / 1e9:.1f} GB of features go to {entry.folder}; "
            "FEATURES.CACHE False encodes on the fly instead."
        )
    free = shutil.disk_usage(entry.folder).free
    if size > free:
        raise UserError(
            f"{entry.folder}: {size / 1e6:,.1f} MB of features do not fit, {free / 1e6:,.1f} MB "
            "are free. Set FEATURES.ROOT to another disk, or FEATURES.CACHE False."
        )
