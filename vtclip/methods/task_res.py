"""TaskRes (Yu et al., CVPR 2023): a residual is trained on the text feature of each class.

The class vectors are W_k = t_k + a x_k: t_k the text feature as it is encoded, x_k trained from 0,
a the scale of the residual. Logits are s cos(g, W_k).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TextResidual(nn.Module):
    """Trainable residuals x [K, D], 0 at the start.

    Args:
        texts: t [K, D], as encoded: a is relative to their length.
        scale: a.
    """

    def __init__(self, texts: Tensor, scale: float) -> None:
        super().__init__()
        self.texts: Tensor
        self.register_buffer("texts", texts.clone())
        self.scale = scale
        self.residual = nn.Parameter(torch.zeros_like(texts))

    def forward(self) -> Tensor:
        """Return W [K, D], of any length."""
        return self.texts + self.scale * self.residual
