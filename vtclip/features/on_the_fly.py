"""CoOp's protocol: every image augmented and encoded anew at every pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vtclip.errors import UserError
from vtclip.features.encoding import Encoding, encode_batch
from vtclip.features.images import ImageFiles, image_batches
from vtclip.features.source import Features, MemoryFeatures, concatenate


class OnTheFlyFeatures:
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
            features = encode_batch(batch, self.encoding)
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

    def with_view(self, view: int) -> OnTheFlyFeatures:
        """Return the same images under augmented view number `view`."""
        encoding = replace(self.encoding, view=view)
        return OnTheFlyFeatures(self._paths, encoding, self.batch_size, self._workers)

    def bytes_per_image(self) -> int:
        """Return the size of one image's features as they are kept, found by encoding one."""
        # uncompiled: a compiled encoder would be built for a batch of one
        probe = OnTheFlyFeatures(self._paths[:1], replace(self.encoding, compile=False), 1, 0)
        sizes = [0 if t is None else t.numel() for t in probe.fetch(torch.tensor([0]))]
        return sum(sizes) * self.encoding.dtype.itemsize


class OnTheFlyViews:
    """A new augmented view of each image at every pass (see :class:`FeatureSource`).

    A pass draws the number of its view from torch's global generator. The view itself depends on
    the image and that number alone, not on how many worker processes read images.

    Args:
        images: the N images; the transform of their encoding is a random one.
    """

    def __init__(self, images: OnTheFlyFeatures) -> None:
        self._images = images

    def __len__(self) -> int:
        """Return N."""
        return len(self._images)

    def fetch(self, rows: Tensor) -> Features:
        """Encode a new view of some images.

        Raises:
            UserError: an image cannot be read.
        """
        return self._new_view().fetch(rows)

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Features]:
        """Encode a new view of batches of rows, while worker processes read the next ones.

        Raises:
            UserError: an image cannot be read.
        """
        return self._new_view().stream(batches)

    def _new_view(self) -> OnTheFlyFeatures:
        return self._images.with_view(int(torch.randint(2**31, ())))
