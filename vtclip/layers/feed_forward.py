"""The feed-forward part of a Transformer layer."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from vtclip.layers.blocked_feed_forward import blocked_feed_forward
from vtclip.layers.fast_path import fast_path_allowed


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, as in the original Transformer.

    Args:
        dim: D, width of inputs and outputs.
        ratio: width of the hidden layer over D.
        dropout: probability that a hidden activation is dropped, in [0, 1).
        fast: compute in blocks of rows where that is possible (without dropout).
    """

    def __init__(self, dim: int, ratio: float, dropout: float = 0.0, *, fast: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, round(dim * ratio))
        self.fc2 = nn.Linear(round(dim * ratio), dim)
        self.dropout = nn.Dropout(dropout)
        self.fast = fast

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        drops = self.training and self.dropout.p > 0
        if self.fast and not drops and fast_path_allowed(x, self.fc1.weight):
            parameters = (self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias)
            return blocked_feed_forward(x, *parameters)
        return self.fc2(self.dropout(F.relu(self.fc1(x))))
