"""The feed-forward part of a Transformer layer, a block of rows at a time.

Nearly all multiplications of VT-CLIP's head are these two products. Plain modules would write the
widest tensor of the layer three times (bias, ReLU, gradient); here a block of it stays warm between
product and ReLU, and its gradient takes its place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vtclip.precision import autocast_dtype

# rows of a block: enough for products at full speed
ROWS = 1024


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, as in the original Transformer."""

    def __init__(self, dim: int, ratio: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, round(dim * ratio))
        self.output = nn.Linear(round(dim * ratio), dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D], in the precision of autocast where that is on.

        What it returns is good for one backward pass.
        """
        if self.training and self.dropout.p > 0:
            return self.output(self.dropout(F.relu(self.inner(x))))
        tensors = [x, self.inner.weight, self.inner.bias, self.output.weight, self.output.bias]
        needs_backward = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        dtype = autocast_dtype(x.device)
        if dtype is not None:
            # as autocast itself, which leaves doubles alone
            tensors = [t if t.dtype == torch.float64 else t.to(dtype) for t in tensors]
        rows, *parameters = tensors
        mapped: Tensor = _ByBlocks.apply(rows.reshape(-1, x.shape[-1]), *parameters, needs_backward)
        return mapped.view(x.shape)


class _ByBlocks(torch.autograd.Function):
    """`relu(x @ inner' + inner_bias) @ outer' + outer_bias` of rows x [N, D]."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        inner: Tensor,
        inner_bias: Tensor,
        outer: Tensor,
        outer_bias: Tensor,
        needs_backward: bool,
    ) -> Tensor:
        """Return [N, D]; the hidden activations [N, R D] are held only for a backward pass."""
        out = x.new_empty(len(x), len(outer))
        hidden = x.new_empty(len(x) if needs_backward else min(ROWS, len(x)), len(inner))
        for first in range(0, len(x), ROWS):
            rows = slice(first, first + ROWS)
            count = len(x[rows])
            block = hidden[rows] if needs_backward else hidden[:count]
            torch.addmm(inner_bias, x[rows], inner.T, out=block)
            torch.addmm(outer_bias, block.relu_(), outer.T, out=out[rows])
        if needs_backward:
            ctx.save_for_backward(x, inner, outer, hidden)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and the four parameters."""
        x, inner, outer, hidden = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_outer = gradient.T @ hidden
        buffer = hidden.new_empty(min(ROWS, len(x)), len(inner))
        for first in range(0, len(x), ROWS):
            rows = slice(first, first + ROWS)
            above, activations = gradient[rows], hidden[rows]
            of_hidden = torch.mm(above, outer, out=buffer[: len(above)])
            # the activations have served, and make room for their gradient
            torch.ops.aten.threshold_backward.grad_input(
                of_hidden, activations, 0, grad_input=activations
            )
        return hidden @ inner, hidden.T @ x, hidden.sum(0), of_outer, gradient.sum(0), None
