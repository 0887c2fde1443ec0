"""Features of a list of images, wherever they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Features(NamedTuple):
    """Features of B images, not normalised.

    Attributes:
        global_features: [B, D], float32.
        spatial_features: [B, S, C], float32; None where they were not asked for.
    """

    global_features: Tensor
    spatial_features: Tensor | None

    def to(self, device: torch.device | str) -> Features:
        """Return the features on `device`; to a CUDA device they travel from pinned memory."""
        device = torch.device(device)
        spatial = self.spatial_features
        return Features(
            _to(self.global_features, device), None if spatial is None else _to(spatial, device)
        )


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def concatenate(parts: Sequence[Features]) -> Features:
    """Join batches, all with spatial features or all without."""
    spatial = [part.spatial_features for part in parts if part.spatial_features is not None]
    return Features(
        torch.cat([part.global_features for part in parts]), torch.cat(spatial) if spatial else None
    )


class FeatureSource(Protocol):
    """Features of an ordered list of N images."""

    def __len__(self) -> int:
        """Return N."""

    def fetch(self, rows: Tensor) -> Features:
        """Return the features of some images, in float32 whatever is stored.

        Args:
            rows: [n], int64, positions in the list, in any order, also repeated.
        """


class MemoryFeatures:
    """Features held as tensors, on any device and in any floating-point type.

    Args:
        global_features: [N, D].
        spatial_features: [N, S, C] or None.

    Raises:
        ValueError: the shapes do not fit together.
    """

    def __init__(self, global_features: Tensor, spatial_features: Tensor | None = None) -> None:
        if global_features.dim() != 2:
            raise ValueError(f"global features: shape {tuple(global_features.shape)}, not [N, D]")
        if spatial_features is not None and (
            spatial_features.dim() != 3 or len(spatial_features) != len(global_features)
        ):
            raise ValueError(
                f"spatial features: shape {tuple(spatial_features.shape)}, "
                f"not [{len(global_features)}, S, C]"
            )
        self.global_features = global_features
        self.spatial_features = spatial_features

    def __len__(self) -> int:
        """Return N."""
        return len(self.global_features)

    def fetch(self, rows: Tensor) -> Features:
        """Return rows of the tensors, on their device (see :class:`FeatureSource`)."""
        rows = rows.to(self.global_features.device)
        spatial = self.spatial_features
        return Features(
            self.global_features[rows].float(),
            None if spatial is None else spatial[rows].float(),
        )


def fetch_grouped(sources: Sequence[FeatureSource], group: Tensor, rows: Tensor) -> Features:
    """Fetch each image from one of several sources, one fetch a source.

    Args:
        sources: where features come from.
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
    return MemoryFeatures(*concatenate(parts)).fetch(torch.cat(places).argsort())
