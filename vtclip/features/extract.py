"""From a list of image files to their features: live, from memory or from disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from vtclip.errors import UserError
from vtclip.features.encoding import Encoding, encode_live
from vtclip.features.images import ImageFiles, image_batches
from vtclip.features.keys import KeyKind, image_keys
from vtclip.features.source import Features, FeatureSource, MemoryFeatures, concatenate
from vtclip.features.store import FeatureStore, Shelf
from vtclip.features.stored import SegmentWriter, StoredFeatures

# above this many bytes, features are announced before they go to disk and not held in memory
LARGE = 10**9


class LiveFeatures:
    """Features that are encoded when they are fetched (see :class:`FeatureSource`).

    Args:
        paths: N image files.
        encoding: how they become features.
        batch_size: most images that are encoded at once.
        workers: processes that read images ahead while :meth:`stream` encodes.
        content_keys: SHA-256 that the bytes of each file must have; None does not look.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        encoding: Encoding,
        batch_size: int,
        workers: int,
        content_keys: Sequence[bytes] | None = None,
    ) -> None:
        self.encoding = encoding
        self._files = ImageFiles(paths, encoding, content_keys)
        self._paths = paths
        self.batch_size = batch_size
        self._workers = workers

    def __len__(self) -> int:
        """Return N."""
        return len(self._paths)

    def fetch(self, rows: Tensor) -> Features:
        """Encode images now, reading them in this process.

        Raises:
            UserError: an image cannot be read.
        """
        return concatenate(list(self._encode(torch.split(rows, self.batch_size), workers=0)))

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Features]:
        """Encode batches of rows, while worker processes read the next ones.

        Raises:
            UserError: an image cannot be read, or features overflow.
        """
        return self._encode(batches, workers=min(self._workers, len(batches) - 1))

    def _encode(self, batches: Sequence[Tensor], workers: int) -> Iterator[Features]:
        images = image_batches(
            self._files,
            [rows.tolist() for rows in batches],
            workers=workers,
            pin_memory=self.encoding.device.type == "cuda",
        )
        for rows, batch in zip(batches, images, strict=True):
            short = self.batch_size - len(batch) if self.encoding.compile else 0
            if short > 0:
                # another batch size would be compiled for minutes
                batch = torch.cat([batch, batch[-1:].expand(short, -1, -1, -1)])
            features = encode_live(batch, self.encoding)
            if short > 0:
                features = MemoryFeatures(*features).fetch(torch.arange(len(rows)))
            finite = features.global_features.isfinite().all(1)
            if features.spatial_features is not None:
                finite &= features.spatial_features.flatten(1).isfinite().all(1)
            if not finite.all():
                path = self._paths[int(rows[int(finite.logical_not().nonzero()[0])])]
                precision = self.encoding.precision
                hint = "" if precision == "fp32" else "; set FEATURES.PRECISION fp32"
                raise UserError(f"{path}: its features are not finite in {precision}{hint}.")
            yield features

    def with_view(self, view: int) -> LiveFeatures:
        """Return the same images under augmented view number `view`."""
        encoding = replace(self.encoding, view=view)
        return LiveFeatures(self._paths, encoding, self.batch_size, self._workers)

    def bytes_per_image(self) -> int:
        """Return the size of one image's features as they are kept, found by encoding one."""
        # uncompiled: a compiled encoder would be built for a batch of one
        probe = LiveFeatures(self._paths[:1], replace(self.encoding, compile=False), 1, 0)
        sizes = [0 if t is None else t.numel() for t in probe.fetch(torch.tensor([0]))]
        return sum(sizes) * self.encoding.dtype.itemsize


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

    With a cache, images it does not know are encoded and remembered first; of several processes
    that ask at once, one encodes and the others wait. Torch's global generator is not drawn from.

    Args:
        paths: N image files.
        encoding: how they become features.
        cache: where features are remembered; None encodes the list once and holds it in memory
            up to 1 GB, and encodes at every fetch above that.
        key: what identifies an image in the cache (see :func:`vtclip.features.keys.image_keys`).
        batch_size: images that are encoded at once.
        workers: processes that read images ahead; None takes one a core, at most 8.
        progress: show a bar on a terminal.
        desc: words before the bar.

    Raises:
        UserError: an image cannot be read, the cache cannot be written, or the disk is too small.
        ValueError: no images.
    """
    if not paths:
        raise ValueError("no images")
    if workers is None:
        workers = min(8, os.cpu_count() or 1)
    if cache is None:
        live = LiveFeatures(paths, encoding, batch_size, workers)
        size = live.bytes_per_image() * len(paths)
        if size > LARGE:
            print(f"{desc}: {size / 1e9:.1f} GB of features, encoded anew at each pass.")
            return live
        return MemoryFeatures(*concatenate([part for _, part in _encode_all(live, progress, desc)]))

    keys = image_keys(paths, key)
    shelf = cache.shelf(encoding.describe(), backbone=encoding.backbone.name)
    stored = StoredFeatures(shelf, keys, encoding.tokens)
    if stored.missing:
        with shelf.writing():
            # another process may have written them while this one waited
            missing = StoredFeatures(shelf, keys, encoding.tokens).missing
            if missing:
                new_keys = [keys[row] for row in missing]
                live = LiveFeatures(
                    [paths[row] for row in missing],
                    encoding,
                    batch_size,
                    workers,
                    new_keys if key == "content" else None,
                )
                _check_room(shelf, live.bytes_per_image() * len(missing), desc)
                writer = SegmentWriter(shelf, encoding.tokens)
                for rows, features in _encode_all(live, progress, desc):
                    writer.add([new_keys[row] for row in rows.tolist()], features)
                writer.flush()
            stored = StoredFeatures(shelf, keys, encoding.tokens)
    shelf.mark_use()
    return stored


def _encode_all(live: LiveFeatures, progress: bool, desc: str) -> Iterator[tuple[Tensor, Features]]:
    """Yield rows and features of all images, on the CPU and in the type they are kept in."""
    batches = torch.split(torch.arange(len(live)), live.batch_size)
    with tqdm(total=len(live), desc=desc, disable=None if progress else True) as bar:
        for rows, features in zip(batches, live.stream(batches), strict=True):
            spatial = features.spatial_features
            kept = live.encoding.dtype  # exact: encode_live has rounded to it
            yield (
                rows,
                Features(
                    features.global_features.to("cpu", kept),
                    None if spatial is None else spatial.to("cpu", kept),
                ),
            )
            bar.update(len(rows))


def _check_room(shelf: Shelf, size: int, desc: str) -> None:
    """Announce a large write, and refuse one that cannot end well."""
    if size > LARGE:
        print(
            f"{desc}: {size / 1e9:.1f} GB of features go to {shelf.folder}; "
            "FEATURES.CACHE False streams them without it.",
            flush=True,
        )
    free = shutil.disk_usage(shelf.folder).free
    if size > free:
        raise UserError(
            f"{shelf.folder}: {size / 1e6:,.1f} MB of features do not fit, {free / 1e6:,.1f} MB "
            "are free. Set FEATURES.ROOT to another disk, or FEATURES.CACHE False."
        )
