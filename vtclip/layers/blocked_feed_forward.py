"""The feed-forward part of a Transformer layer, a block of rows at a time.

Nearly all multiplications of VT-CLIP's head are these two products. Plain modules write the widest
tensor of the layer three times (bias, ReLU, gradient). Here a block of it is still in the
processor's cache between product and ReLU, and its gradient is written in its place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vtclip.layers.fast_path import fast_path_allowed
from vtclip.precision import autocast_dtype

# rows of a block: enough for products at full speed
ROWS = 1024


def blocked_feed_forward(
    x: Tensor, fc1_weight: Tensor, fc1_bias: Tensor, fc2_weight: Tensor, fc2_bias: Tensor
) -> Tensor:
    """Return `relu(x @ fc1_weight.T + fc1_bias) @ fc2_weight.T + fc2_bias`.

    It can be differentiated any number of times; only the first backward pass is the fast one.

    Args:
        x: [..., D].
        fc1_weight, fc1_bias: [R, D] and [R], R the hidden width.
        fc2_weight, fc2_bias: [D, R] and [D].

    Returns:
        [..., D], in the precision of autocast where that is on.
    """
    tensors = [x, fc1_weight, fc1_bias, fc2_weight, fc2_bias]
    needs_backward = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    dtype = autocast_dtype(x.device)
    if dtype is not None:
        # as autocast itself, which does not change doubles
        tensors = [t if t.dtype == torch.float64 else t.to(dtype) for t in tensors]
    rows, *parameters = tensors
    mapped: Tensor = _FeedForward.apply(rows.reshape(-1, x.shape[-1]), *parameters, needs_backward)
    return mapped.view(x.shape)


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        fc1_weight: Tensor,
        fc1_bias: Tensor,
        fc2_weight: Tensor,
        fc2_bias: Tensor,
        needs_backward: bool,
    ) -> Tensor:
        """Map [N, D] to [N, D]; all hidden activations [N, R] are held only for a backward pass."""
        out = x.new_empty(len(x), len(fc2_weight))
        hidden = x.new_empty(len(x) if needs_backward else min(ROWS, len(x)), len(fc1_weight))
        for first in range(0, len(x), ROWS):
            rows = slice(first, first + ROWS)
            count = len(x[rows])
            block = hidden[rows] if needs_backward else hidden[:count]
            torch.addmm(fc1_bias, x[rows], fc1_weight.T, out=block)
            torch.addmm(fc2_bias, block.relu_(), fc2_weight.T, out=out[rows])
        if needs_backward:
            ctx.save_for_backward(x, fc1_weight, fc1_bias, fc2_weight, hidden)
            ctx.hidden_is_overwritten = False
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, fc1_weight, fc1_bias, fc2_weight, hidden = ctx.saved_tensors
        # a second pass (retain_graph), a pass that is recorded (create_graph), or a batch of passes
        if ctx.hidden_is_overwritten or torch.is_grad_enabled() or not fast_path_allowed():
            return (*_gradients(x, fc1_weight, fc1_bias, fc2_weight, gradient), None)
        ctx.hidden_is_overwritten = True
        # .data: autograd would refuse a second pass, which computes the activations again
        hidden, gradient = hidden.data, gradient.contiguous()
        of_fc2_weight = gradient.T @ hidden
        _put_gradient_into(hidden, gradient, fc2_weight)
        of_fc1_bias, of_fc2_bias = hidden.sum(0), gradient.sum(0)
        return hidden @ fc1_weight, hidden.T @ x, of_fc1_bias, of_fc2_weight, of_fc2_bias, None


def _put_gradient_into(hidden: Tensor, gradient: Tensor, fc2_weight: Tensor) -> None:
    """Overwrite the hidden activations [N, R] with their gradient, given that of the output.

    A function of its own, so that its buffer is freed before the largest gradients are made.
    """
    buffer = hidden.new_empty(min(ROWS, len(hidden)), hidden.shape[1])
    for first in range(0, len(hidden), ROWS):
        rows = slice(first, first + ROWS)
        above, activations = gradient[rows], hidden[rows]
        of_hidden = torch.mm(above, fc2_weight, out=buffer[: len(above)])
        torch.ops.aten.threshold_backward.grad_input(
            of_hidden, activations, 0, grad_input=activations
        )


def _gradients(
    x: Tensor, fc1_weight: Tensor, fc1_bias: Tensor, fc2_weight: Tensor, gradient: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of x and the four parameters by plain, differentiable operations."""
    hidden = F.relu(F.linear(x, fc1_weight, fc1_bias))
    of_hidden = (gradient @ fc2_weight) * (hidden > 0)
    of_fc1_weight, of_fc2_weight = of_hidden.T @ x, gradient.T @ hidden
    return of_hidden @ fc1_weight, of_fc1_weight, of_hidden.sum(0), of_fc2_weight, gradient.sum(0)
