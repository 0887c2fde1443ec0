"""The classes of a shortlist, one per image, and logits of which only those are worked out anew."""

from __future__ import annotations

import torch
from torch import Tensor


def shortlist_of(logits: Tensor, count: int, labels: Tensor | None = None) -> Tensor:
    """Return the classes that rank highest for each image.

    Args:
        logits: of zero-shot CLIP, [B, K]; of equal ones the class that comes first ranks higher.
        count: M, from 1 to K.
        labels: [B], int64; in training, the true class takes the last place where it ranks lower.

    Returns:
        Classes [B, M], int64, ascending.

    >>> shortlist_of(torch.tensor([[0.3, 0.1, 0.2], [0.1, 0.2, 0.3]]), 2)
    tensor([[0, 2],
            [1, 2]])
    >>> shortlist_of(torch.tensor([[0.3, 0.1, 0.2]]), 2, torch.tensor([1]))
    tensor([[0, 1]])
    """
    if labels is not None:
        logits = logits.scatter(1, labels.unsqueeze(1), torch.inf)
    ranked = logits.argsort(dim=1, descending=True, stable=True)
    return ranked[:, :count].sort(dim=1).values


def texts_of(shared: Tensor, shortlist: Tensor) -> Tensor:
    """Return the texts [B, M, D] of each image's shortlist [B, M] from shared ones [1, K, D]."""
    # not by indexing, whose backward pass is much slower
    return shared[0].index_select(0, shortlist.flatten()).unflatten(0, shortlist.shape)


def filled_in(logits: Tensor, shortlist: Tensor, guided: Tensor) -> Tensor:
    """Return logits [B, K] with those of the shortlist [B, M] replaced by `guided` [B, M]."""
    return logits.scatter(1, shortlist, guided.to(logits.dtype))
