"""When the fast functions of this package may run, and the error where they cannot."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from vtclip.precision import autocast_dtype


def fast_path_allowed(*operands: Tensor) -> bool:
    """Return whether the hand-written functions with a backward pass of their own may run now.

    They write into buffers, so they cannot run under function transforms (torch.func, vmap),
    forward-mode differentiation or torch.compile.

    Args:
        operands: tensors to be multiplied; outside autocast they must have one type.
    """
    transformed = (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )
    if transformed:
        return False
    types = {tensor.dtype for tensor in operands}
    return len(types) <= 1 or autocast_dtype(operands[0].device) is not None


def forbid_create_graph(name: str, gradient: Tensor) -> None:
    """Raise an error where a backward pass is recorded, a hook for the gradient of function `name`.

    Raises:
        RuntimeError: derivatives of the gradients are wanted, which the function does not have.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"{name} has no second derivatives (create_graph=True): construct the module with "
            "fast=False, as in VisualGuidedAttention(dim, fast=False)"
        )
