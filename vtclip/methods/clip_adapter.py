"""CLIP-Adapter (arXiv 2110.04544, section 3.2): a bottleneck on the image features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Adapter(nn.Module):
    """Two linear layers without bias, D to D / reduction and back, a ReLU after each.

    Args:
        dim: D.
        reduction: how much narrower the bottleneck is; it stays at least 1 wide.
    """

    def __init__(self, dim: int, reduction: int = 4) -> None:
        super().__init__()
        inner = max(1, dim // reduction)
        self.down = nn.Linear(dim, inner, bias=False)
        self.up = nn.Linear(inner, dim, bias=False)

    def forward(self, global_features: Tensor) -> Tensor:
        """Map g [B, D] to A(g) [B, D]."""
        return F.relu(self.up(F.relu(self.down(global_features))))


def blend(global_features: Tensor, adapted: Tensor, ratio: float) -> Tensor:
    """Return `r A(g) + (1 - r) g`.

    Args:
        global_features: g [B, D].
        adapted: A(g) [B, D], of the same g.
        ratio: r in [0, 1]; 0 is zero-shot CLIP.

    Returns:
        [B, D], not normalised.
    """
    return ratio * adapted + (1 - ratio) * global_features
