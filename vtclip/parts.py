"""Sum a loss over parts of a batch, with the activations of one part in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def sum_of_parts(
    parts: Iterable[Callable[[Tensor], Tensor]], shared: Tensor, parameters: Sequence[Tensor]
) -> Tensor:
    """Return the sum of scalars, each a function of a shared tensor, ready for `backward()`.

    Each part is differentiated as soon as it is computed, and its activations are forgotten; the
    backward pass of the sum hands out what was gathered. So the peak is that of one part, and yet
    nothing is computed twice.

    Args:
        parts: functions from `shared` to a scalar.
        shared: computed once; its own graph is kept until the backward pass.
        parameters: what else the parts depend on, each requiring a gradient.
    """
    leaf = shared.detach().requires_grad_(shared.requires_grad)
    leaves, sources = list(parameters), list(parameters)
    if shared.requires_grad:
        leaves.append(leaf)
        sources.append(shared)
    total = torch.zeros((), device=shared.device)
    with _own_gradients(leaves) as gradients:
        for part in parts:
            value = part(leaf)
            total += value.detach()
            # a backward pass repeats the precisions of its forward pass by itself
            with without_autocast(shared.device):
                value.backward(inputs=leaves)
    result: Tensor = _HandOut.apply(total, gradients, *sources)
    return result


@contextmanager
def _own_gradients(leaves: Sequence[Tensor]) -> Iterator[list[Tensor | None]]:
    """Gather the gradients of the block in the list, and leave what the leaves had as it was."""
    before = [leaf.grad for leaf in leaves]
    gradients: list[Tensor | None] = []
    try:
        for leaf in leaves:
            leaf.grad = None
        yield gradients
        gradients += [leaf.grad for leaf in leaves]
    finally:
        for leaf, gradient in zip(leaves, before, strict=True):
            leaf.grad = gradient


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Shut out the autocast of a caller, on devices that have one."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


class _HandOut(torch.autograd.Function):
    """A sum whose gradients are known."""

    @staticmethod
    def forward(
        ctx: Any, total: Tensor, gradients: Sequence[Tensor | None], *sources: Tensor
    ) -> Tensor:
        """Return the sum; `gradients` are those of `sources`."""
        ctx.gradients = gradients
        return total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients, times that of the sum; they are given away, so once."""
        gradients, ctx.gradients = ctx.gradients, None
        return (None, None, *(None if g is None else g.mul_(upstream) for g in gradients))
