"""CoOp's protocol: every image augmented and encoded anew at every pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vtclip.features.extract import LiveFeatures
from vtclip.features.source import Features


class LiveViews:
    """A new augmented view of each image at every pass (see :class:`FeatureSource`).

    A pass draws the number of its view from torch's global generator. The view itself depends on
    the image and that number alone, not on how many worker processes read images.

    Args:
        images: the N images; the transform of their encoding is a random one.
    """

    def __init__(self, images: LiveFeatures) -> None:
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

    def _new_view(self) -> LiveFeatures:
        return self._images.with_view(int(torch.randint(2**31, ())))
