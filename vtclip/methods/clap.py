"""CLAP (Silva-Rodriguez et al., CVPR 2024): a linear probe that is held near the texts.

The class vectors W [K, D] start at the text features t [K, D] as they are encoded; logits are
s cos(g, W_k). That alone is ZS-LP. CLAP adds mean_k(lam_k |W_k - t_k|^2) to the cross-entropy.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vtclip.methods.class_counts import class_counts


class ClassVectors(nn.Module):
    """Trainable class vectors W [K, D].

    Args:
        texts: t [K, D], where they start.
    """

    def __init__(self, texts: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(texts.clone())

    def forward(self) -> Tensor:
        """Return W [K, D], of any length."""
        return self.weight


def class_strengths(logits: Tensor, labels: Tensor) -> Tensor:
    """Return lam [K]: the mean zero-shot probability of the right class, by class.

    Args:
        logits: zero-shot logits [N, K] of the support images, each class among them.
        labels: [N], int64.
    """
    right = logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    sums = right.new_zeros(logits.shape[1]).index_add(0, labels, right)
    return sums / class_counts(labels, logits.shape[1])


def distance_from_texts(weight: Tensor, texts: Tensor, strengths: Tensor) -> Tensor:
    """Return mean_k(lam_k |W_k - t_k|^2), a scalar, of [K, D], [K, D] and [K]."""
    return torch.mean(strengths * (weight - texts).square().sum(dim=1))
