"""Features that are encoded when they are needed; CoOp's protocol of a new view per epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vtclip.errors import UserError
from vtclip.features.encoding import Encoding, encode_batch
from vtclip.features.images import ImageFiles, image_batches, lost_workers_in_one_line
from vtclip.image_features import Features


class OnTheFlyFeatures:
    """Features that are encoded when they are fetched (see :class:`FeatureSource`).

    Args:
        paths: N image files.
        encoding: how they become features.
        batch_size: largest number of images per batch of the encoder.
        workers: processes that read images ahead while :meth:`stream` encodes.
        content_keys: SHA-256 that the bytes of each file must have; None checks nothing.
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
        return Features.cat(list(self._encode(torch.split(rows, self.batch_size), workers=0)))

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
                # the encoder would be compiled again for another batch size, which takes minutes
                batch = torch.cat([batch, batch[-1:].expand(short, -1, -1, -1)])
            with lost_workers_in_one_line():
                features = encode_batch(batch, self.encoding)
            if short > 0:
                features = features[: len(rows)]
            fault = features.fault()
            if fault is not None:
                what, position = fault
                path = self._paths[int(rows[position])]
                precision = self.encoding.precision
                hint = "" if precision == "fp32" else "; set FEATURES.PRECISION fp32"
                raise UserError(f"{path}: its {what} in {precision}{hint}.")
            yield features

    def with_view(self, view: int) -> OnTheFlyFeatures:
        """Return the same images under augmented view number `view`."""
        encoding = replace(self.encoding, view=view)
        return OnTheFlyFeatures(self._paths, encoding, self.batch_size, self._workers)

    def bytes_per_image(self) -> int:
        """Return the bytes per image of the features as kept, found by encoding one image."""
        # not compiled: compiling for one image takes minutes
        probe = OnTheFlyFeatures(self._paths[:1], replace(self.encoding, compile=False), 1, 0)
        return probe.fetch(torch.tensor([0])).to(dtype=self.encoding.dtype).nbytes


class OnTheFlyViews:
    """A new augmented view of each image in every pass over the list (see :class:`FeatureSource`).

    The number of the view is drawn from torch's global generator, once per pass. The view itself
    depends on the image and this number alone, not on the number of worker processes.

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
