"""Sources of features: an ordered list of images, in memory, on disk or encoded on the fly."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from vtclip.features.buffers import buffers
from vtclip.image_features import Features

# bytes from which a row is copied by a call of its own
LONG_ROW = 1 << 14


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
        group = torch.zeros_like(rows)
        spatial = self.features.spatial_features
        return Features(
            rows_of([self.features.global_features], group, rows),
            None if spatial is None else rows_of([spatial], group, rows),
        )


def rows_of(tensors: Sequence[Tensor], group: Tensor, rows: Tensor) -> Tensor:
    """Return rows of several tensors [N_i, ...] as one, in float32, on their device.

    Args:
        tensors: of one shape but for the first dimension, and of one type and device.
        group: [n], int64, the number of the tensor of each row.
        rows: [n], int64, its row there.
    """
    first = tensors[0]
    is_long = first[:1].nbytes >= LONG_ROW
    if is_long and first.device.type == "cpu":
        found = buffers.empty((len(rows), *first.shape[1:]))
        # one pass, from the type that is stored and without new memory
        for start, stop in _runs(group, rows):
            tensor, row = tensors[int(group[start])], int(rows[start])
            found[start:stop].copy_(tensor[row : row + stop - start])
        return found
    parts, places = [], []
    for number in sorted(set(group.tolist())):
        place = (group == number).nonzero().flatten()
        # copies whole rows, where indexing copies numbers
        parts.append(tensors[number].index_select(0, rows[place].to(first.device)).float())
        places.append(place)
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return first[:0].float()
    return torch.cat(parts)[torch.cat(places).argsort().to(first.device)]


def _runs(group: Tensor, rows: Tensor) -> list[tuple[int, int]]:
    """Return the bounds of the stretches of rows that follow one another in one tensor."""
    begins = (group.diff() != 0) | (rows.diff() != 1)
    starts = [0, *(begins.nonzero().flatten() + 1).tolist(), len(rows)]
    return [pair for pair in itertools.pairwise(starts) if pair[0] < pair[1]]


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
