"""P0, task-text coordinates (2026): z = g + g A Q', a map into the span of the class texts.

Q [D, R] is an orthonormal basis of the centred text features, R = K - 1 unless texts depend on
each other, and A [D, R] starts at 0 and minimises cross-entropy + lam |A|_F^2. What is
perpendicular to the span stays in z and in its length.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def text_basis(text_features: Tensor) -> Tensor:
    """Return Q [D, R] of text features [K, D], worked out in float64.

    Each column is signed so that its largest entry is positive.
    """
    texts = text_features.double().T
    left, singular, _ = torch.linalg.svd(texts - texts.mean(1, keepdim=True), full_matrices=False)
    smallest = max(texts.shape) * torch.finfo(torch.float64).eps * singular[0]
    basis = left[:, singular > smallest]
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    return (basis * largest.sign()).to(text_features.dtype)


class CandidateMaps(nn.Module):
    """Maps into one span, each trained with settings of its own.

    Args:
        basis: Q [D, R], orthonormal columns.
        count: how many maps A [D, R].
    """

    def __init__(self, basis: Tensor, count: int) -> None:
        super().__init__()
        self.basis: Tensor
        self.register_buffer("basis", basis)
        self.weights = nn.ParameterList(torch.zeros_like(basis) for _ in range(count))

    def forward(self, g: Tensor, candidate: int) -> Tensor:
        """Return g + g A Q', [B, D], with the A of one candidate."""
        return g + (g @ self.weights[candidate]) @ self.basis.T
