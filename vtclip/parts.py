"""Sum a loss over parts of a batch, with the activations of one part in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vtclip.precision import autocast


def sum_of_parts(
    parts: Iterable[Callable[..., tuple[Tensor, Tensor]]],
    shared: Sequence[Tensor],
    parameters: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """Return the sum of scalars, each a function of shared tensors, ready for one `backward()`.

    Each part is differentiated as soon as it is computed, and its activations are forgotten; the
    backward pass of the sum hands out what was gathered. So the peak is that of one part, and yet
    nothing is computed twice.

    Args:
        parts: functions from `shared` to a scalar, and something to keep of it.
        shared: one or more, computed once; their graph is kept until the backward pass.
        parameters: all else that the parts depend on and that requires a gradient.

    Returns:
        The sum, and what each part wants kept.
    """
    leaves = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in shared]
    inputs, sources = (
        [*parameters, *(tensor for tensor in tensors if tensor.requires_grad)]
        for tensors in (leaves, shared)
    )
    device = shared[0].device
    total = torch.zeros((), device=device)
    gathered: list[Tensor | None] = [None] * len(inputs)
    kept = []
    for part in parts:
        value, extra = part(*leaves)
        total += value.detach()
        kept.append(extra)
        # the backward pass repeats the precisions of its forward pass by itself
        with autocast(device, None):
            found: list[Tensor | None] = [*torch.autograd.grad(value, inputs, allow_unused=True)]
        # one by one, so that a sum takes the room of what was added
        for number in range(len(inputs)):
            gathered[number] = _add(gathered[number], found[number])
            found[number] = None
    result: Tensor = _HandOut.apply(total, gathered, *sources)
    return result, kept


def _add(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    # not in place: autograd may give one tensor to two inputs
    return first + second


class _HandOut(torch.autograd.Function):
    """The identity of a scalar whose gradients were computed before."""

    @staticmethod
    def forward(
        ctx: Any, total: Tensor, gradients: Sequence[Tensor | None], *sources: Tensor
    ) -> Tensor:
        """Return the scalar; `gradients` are those of `sources`."""
        ctx.gradients = gradients
        # an input given back as it is would not belong to the graph
        return total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients, times that of the scalar."""
        return (None, None, *(None if g is None else g * upstream for g in ctx.gradients))
