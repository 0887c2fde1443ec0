"""RLA, the regularised linear adapter (Fahes et al., arXiv 2410.05270): z = g + g A.

A [D, D] starts at 0 and minimises cross-entropy + lam |A|_F^2. The scores are cosines of z with
the texts, so that the length of g makes no difference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearMap(nn.Module):
    """Adds a trained linear map to features.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim, dim))

    def forward(self, g: Tensor) -> Tensor:
        """Return g + g A, [B, D]."""
        return g + g @ self.weight
