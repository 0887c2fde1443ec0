"""torch's own attention with our weights, and what the tests of the layers share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vtclip.layers import MultiHeadAttention
from vtclip.layers.product_order import Order

ORDERS: tuple[Order, ...] = ("plain", "absorb_key", "absorb_key_value", "absorb_output")


def force_order(monkeypatch: pytest.MonkeyPatch, order: Order) -> None:
    """Let attention with shared queries multiply in this order, whatever it costs."""
    monkeypatch.setattr(
        MultiHeadAttention, "order", lambda _, q, __: order if len(q) == 1 else "plain"
    )


def randomise(module: nn.Module) -> None:
    """Move every parameter away from its start, so that no part is a constant."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


def reference_attention(
    ours: MultiHeadAttention, dim: int, memory_dim: int
) -> nn.MultiheadAttention:
    """Build torch's attention from our weights."""
    theirs = nn.MultiheadAttention(
        dim, ours.num_heads, kdim=memory_dim, vdim=memory_dim, batch_first=True
    )
    projections = [ours.q_proj.weight, ours.k_proj.weight, ours.v_proj.weight]
    with torch.no_grad():
        if dim == memory_dim:
            theirs.in_proj_weight.copy_(torch.cat(projections))
        else:
            for name, weight in zip("qkv", projections, strict=True):
                getattr(theirs, f"{name}_proj_weight").copy_(weight)
        theirs.in_proj_bias.copy_(torch.cat([ours.q_proj.bias, ours.k_proj.bias, ours.v_proj.bias]))
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    return theirs
