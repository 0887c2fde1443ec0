"""Tip-Adapter (arXiv 2207.09519, section 3): a cache of the few-shot images beside zero-shot CLIP.

alpha weighs the cache against CLIP, beta sharpens the affinity, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def build_keys(views: Sequence[Tensor]) -> Tensor:
    """Return the keys of the cache: the mean over augmented views, normalised.

    Args:
        views: V tensors [N, D], the global features of the N few-shot images, in one order.

    Returns:
        [N, D]
    """
    return F.normalize(torch.stack(list(views)).mean(0), dim=-1)


def cache_logits(
    global_features: Tensor, keys: Tensor, labels: Tensor, n_classes: int, beta: float
) -> Tensor:
    """Retrieve from the cache: `exp(-beta (1 - g . keys^T)) @ values`.

    Args:
        global_features: g [B, D], any length.
        keys: [N, D], normalised, or trained from there.
        labels: [N], int64; the values of the cache are their one-hot rows.
        n_classes: K.
        beta: sharpness, above 0.

    Returns:
        [B, K], not weighted by alpha.
    """
    affinity = F.normalize(global_features, dim=-1) @ keys.T
    weights = torch.exp(-beta * (1 - affinity))
    # len() would fix the number of images in an exported graph
    # summing by label is the product with one-hot rows, without a matrix [N, K]
    return weights.new_zeros(weights.shape[0], n_classes).index_add(1, labels, weights)
