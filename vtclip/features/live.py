"""CoOp's protocol: every image augmented and encoded anew at every pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vtclip.features.encoding import Encoding
from vtclip.features.extract import LiveFeatures
from vtclip.features.source import Features


class LiveViews:
    """A new augmented view of each image at every pass (see :class:`FeatureSource`).

    A pass draws the number of its view from torch's global generator. The view itself depends on
    the image and that number alone, not on how many worker processes read images.

    Args:
        paths: N image files.
        encoding: its transform is a random one; its view is not used.
        batch_size: images that are encoded at once.
        workers: processes that read images ahead.
    """

    def __init__(
        self, paths: Sequence[Path], encoding: Encoding, batch_size: int, workers: int
    ) -> None:
        self._paths = paths
        self._encoding = encoding
        self._batch_size = batch_size
        self._workers = workers

    def __len__(self) -> int:
        """Return N."""
        return len(self._paths)

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

    def _new_view(self) -> LiveFeatures:
        encoding = replace(self._encoding, view=int(torch.randint(2**31, ())))
        return LiveFeatures(self._paths, encoding, self._batch_size, self._workers)
