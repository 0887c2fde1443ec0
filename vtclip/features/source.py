"""Sources of features: an ordered list of images, in memory, on disk or encoded on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from vtclip.image_features import Features


class FeatureSource(Protocol):
    """Features of an ordered list of N images."""

    def __len__(self) -> int:
        """Return N."""

    def fetch(self, rows: Tensor) -> Features:
        """Return the features of some images, in float32, whatever type is stored.

        Args:
            rows: [n], int64, positions in the list, in any order, also repeated.
        """


class MemoryFeatures:
    """Features held as tensors, on any device and in any floating-point type.

    Args:
        features: of the N images, in the order of the list.

    Raises:
        ValueError: the shapes are not [N, D] and [N, S, C].
    """

    def __init__(self, features: Features) -> None:
        global_features, spatial = features.global_features, features.spatial_features
        if global_features.dim() != 2:
            raise ValueError(f"global features: shape {tuple(global_features.shape)}, not [N, D]")
        if spatial is not None and (spatial.dim() != 3 or len(spatial) != len(features)):
            raise ValueError(
                f"spatial features: shape {tuple(spatial.shape)}, not [{len(features)}, S, C]"
            )
        self.features = features

    def __len__(self) -> int:
        """Return N."""
        return len(self.features)

    def fetch(self, rows: Tensor) -> Features:
        """Return rows of the tensors, on their device (see :class:`FeatureSource`)."""
        rows = rows.to(self.features.global_features.device)
        spatial = self.features.spatial_features
        # copies whole rows, where indexing copies numbers
        chosen = Features(
            self.features.global_features.index_select(0, rows),
            None if spatial is None else spatial.index_select(0, rows),
        )
        return chosen.to(dtype=torch.float32)


def fetch_grouped(sources: Sequence[FeatureSource], group: Tensor, rows: Tensor) -> Features:
    """Fetch each image from one of several sources, with one fetch per source.

    Args:
        sources: the sources.
        group: [n], the number of the source of each image.
        rows: [n], its row there.

    Returns:
        The features of the n images, in their order.
    """
    parts, places = [], []
    for number in sorted(set(group.tolist())):
        place = (group == number).nonzero().flatten()
        parts.append(sources[number].fetch(rows[place]))
        places.append(place)
    if len(parts) == 1:
        return parts[0]
    return Features.cat(parts)[torch.cat(places).argsort()]
