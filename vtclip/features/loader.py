"""Batches of features, for training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypedDict, runtime_checkable

import torch
from torch import Tensor

from vtclip.features.source import FeatureSource, fetch_grouped
from vtclip.image_features import Features


class Batch(TypedDict):
    """One batch: features, labels [B] and positions in the list [B], both int64."""

    features: Features
    label: Tensor
    index: Tensor


@runtime_checkable
class _Streams(Protocol):
    """A source that prepares the next batches while the current one is used."""

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Features]: ...


class FeatureLoader:
    """Iterate a list of images in batches, like a DataLoader.

    Each epoch draws from torch's global generator: first the order (`torch.randperm(N)`, only with
    `shuffle`), then one view per image (`torch.randint(V, (N,))`, only with several views). With
    `pool_views` it draws `torch.randperm(V N)` alone: number i is image i % N in view i // N.

    Args:
        views: V sources of the same N images; with several, one of them is drawn at random per
            image and epoch.
        labels: [N], int64.
        batch_size: images per batch.
        shuffle: a new order each epoch.
        drop_last: leave out a last batch that is not full, unless it is the only one.
        pool_views: draw from all views of all images, without putting back, as many batches as
            one view has; they are full where there are enough views. Implies `shuffle`.

    Raises:
        ValueError: no view, a batch size below 1, or views and labels of different lengths.
    """

    def __init__(
        self,
        views: Sequence[FeatureSource],
        labels: Tensor,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        pool_views: bool = False,
    ) -> None:
        if not views:
            raise ValueError("a loader needs at least one view")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, not at least 1")
        lengths = [len(view) for view in views]
        if set(lengths) != {len(labels)}:
            raise ValueError(f"views of {lengths} images, but {len(labels)} labels")
        self.views = list(views)
        self.labels = labels
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last and len(labels) >= batch_size
        self.pool_views = pool_views

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        if self.drop_last:
            return len(self.labels) // self.batch_size
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        order, views = self._draw()
        batches = list(torch.split(order, self.batch_size))[: len(self)]
        for rows, features in zip(batches, self._features(batches, views), strict=True):
            yield {
                "features": features,
                "label": self.labels[rows.to(self.labels.device)],
                "index": rows,
            }

    def _draw(self) -> tuple[Tensor, Tensor | None]:
        """Return the rows of an epoch in their order, and the view of each; None for one view."""
        count, several = len(self.labels), len(self.views) > 1
        if self.pool_views:
            drawn = torch.randperm(count * len(self.views))
            return drawn % count, drawn // count if several else None
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        return order, torch.randint(len(self.views), (count,))[order] if several else None

    def _features(self, batches: Sequence[Tensor], views: Tensor | None) -> Iterator[Features]:
        if views is not None:
            groups = torch.split(views, self.batch_size)
            pairs = zip(groups, batches, strict=False)
            return (fetch_grouped(self.views, group, rows) for group, rows in pairs)
        view = self.views[0]
        if isinstance(view, _Streams):
            return view.stream(batches)
        return (view.fetch(rows) for rows in batches)
