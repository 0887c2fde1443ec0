"""Gradients to compare."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def gradients(scalar: Tensor, module: nn.Module) -> list[Tensor]:
    """Return the gradients of a module's parameters, zeros where they do not enter."""
    parameters = list(module.parameters())
    found = torch.autograd.grad(scalar, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
