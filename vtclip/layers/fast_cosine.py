"""Cosine of many vectors with unit vectors, with one large tensor in its backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def fast_cosine(x: Tensor, unit: Tensor) -> Tensor:
    """Return the cosine of vectors with unit vectors, as `normalize(x) @ unit`.

    Autograd would make five tensors of the size of x in the backward pass; this makes one. It can
    be differentiated any number of times.

    Args:
        x: [B, K, D]; a vector of no length counts as one of 1e-12.
        unit: [B, D], of length 1.

    Returns:
        [B, K]
    """
    cosine: Tensor = _Cosine.apply(x, unit)
    return cosine


def _lengths_and_cosine(x: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    lengths = torch.linalg.vector_norm(x, dim=-1).clamp_min(1e-12)
    return lengths, torch.bmm(x, unit.unsqueeze(-1)).squeeze(-1) / lengths


class _Cosine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, unit: Tensor) -> Tensor:
        lengths, cosine = _lengths_and_cosine(x, unit)
        ctx.save_for_backward(x, unit, lengths, cosine)
        return cosine

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, unit, lengths, cosine = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the gradients depend on these, too
            lengths, cosine = _lengths_and_cosine(x, unit)
        along_unit = (gradient / lengths).unsqueeze(-1)
        of_x = of_unit = None
        if ctx.needs_input_grad[0]:
            along_x = along_unit * (cosine / lengths).unsqueeze(-1)
            of_x = (x * along_x.neg()).baddbmm_(along_unit, unit.unsqueeze(1))
        if ctx.needs_input_grad[1]:
            of_unit = torch.bmm(along_unit.transpose(1, 2), x).squeeze(1)
        return of_x, of_unit
