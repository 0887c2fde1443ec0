"""From a list of image files to their features: live, from memory or from disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from vtclip.errors import UserError
from vtclip.features.encoding import Encoding, encode_live
from vtclip.features.images import ImageFiles, image_batches
from vtclip.features.source import Features, FeatureSource, MemoryFeatures, concatenate

# above this many bytes, features are announced before they go to disk and not held in memory
LARGE = 10**9


class LiveFeatures:
    """Features that are encoded when they are fetched (see :class:`FeatureSource`).

    Args:
        paths: N image files.
        encoding: how they become features.
        batch_size: most images that are encoded at once.
        workers: processes that read images ahead while :meth:`stream` encodes.
    """

    def __init__(
        self, paths: Sequence[Path], encoding: Encoding, batch_size: int, workers: int
    ) -> None:
        self.encoding = encoding
        self._files = ImageFiles(paths, encoding)
        self._paths = paths
        self._batch_size = batch_size
        self._workers = workers

    def __len__(self) -> int:
        """Return N."""
        return len(self._paths)

    def fetch(self, rows: Tensor) -> Features:
        """Encode images now, reading them in this process.

        Raises:
            UserError: an image cannot be read.
        """
        return concatenate(list(self._encode(torch.split(rows, self._batch_size), workers=0)))

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
            features = encode_live(batch, self.encoding)
            finite = features.global_features.isfinite().all(1)
            if features.spatial_features is not None:
                finite &= features.spatial_features.flatten(1).isfinite().all(1)
            if not finite.all():
                path = self._paths[int(rows[int(finite.logical_not().nonzero()[0])])]
                raise UserError(
                    f"{path}: its features are not finite in {self.encoding.precision}; "
                    "set FEATURES.PRECISION fp32."
                )
            yield features

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
    cache: None = None,
    key: Literal["content", "stat"] = "content",
    batch_size: int = 64,
    workers: int | None = None,
    progress: bool = True,
    desc: str = "images",
) -> FeatureSource:
    """Return the features of a list of images.

    Args:
        paths: N image files.
        encoding: how they become features.
        cache: where features are remembered; None encodes the list once and holds it in memory
            up to 1 GB, and encodes at every fetch above that.
        key: what identifies an image: its bytes, or its path, size and time of change.
        batch_size: images that are encoded at once.
        workers: processes that read images ahead; None takes one a core, at most 8.
        progress: show a bar on a terminal.
        desc: words before the bar.

    Raises:
        UserError: an image cannot be read, or the cache cannot be written.
    """
    if workers is None:
        workers = min(8, os.cpu_count() or 1)
    live = LiveFeatures(paths, encoding, batch_size, workers)
    if not paths:
        raise ValueError("no images")
    size = live.bytes_per_image() * len(paths)
    if size > LARGE:
        print(f"{desc}: {size / 1e9:.1f} GB of features, encoded anew at each pass.")
        return live
    batches = torch.split(torch.arange(len(paths)), batch_size)
    with tqdm(total=len(paths), desc=desc, disable=None if progress else True) as bar:
        parts = []
        for features in live.stream(batches):
            parts.append(_kept(features, encoding))
            bar.update(len(features.global_features))
    return MemoryFeatures(*concatenate(parts))


def _kept(features: Features, encoding: Encoding) -> Features:
    """Return the features on the CPU, in the type that they are kept in (exact: see Encoding)."""
    spatial = features.spatial_features
    return Features(
        features.global_features.to("cpu", encoding.dtype),
        None if spatial is None else spatial.to("cpu", encoding.dtype),
    )
