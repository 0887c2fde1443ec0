"""Multi-head attention of shared queries, with its matrix products in the cheapest order.

The queries of VT-CLIP's first layer are the same for all images. What is computed from queries and
weights alone costs once per batch, and a projection of the memory can be absorbed into it::

    plain             project the memory to keys and values, attend, project the K results
    absorb_key        q . (W_k f) = (W_k' q) . f: score the memory itself, project it to values
    absorb_key_value  as absorb_key; average the memory itself, then project the K averages
    absorb_output     project the S values of each head to the output, then average them

All give the same numbers up to rounding. Shapes: B images, K queries, S locations, H heads of width
E, D = H * E, memory of width C. Attention weights here are [B, S, H, K].
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Order = Literal["plain", "absorb_key", "absorb_key_value", "absorb_output"]


class Sizes(NamedTuple):
    """What the cost of an order depends on: B, K, S, H, D and C."""

    n_images: int
    n_queries: int
    n_keys: int
    num_heads: int
    dim: int
    memory_dim: int


def multiplications_of_orders(sizes: Sizes) -> dict[Order, float]:
    """Count the multiplications per image of each order, of queries that all images share."""
    b, k, s, h, d, c = sizes
    scoring, projecting = k * h * s * c + k * d * c / b, s * c * d
    return {
        "plain": 2 * projecting + 2 * k * s * d + k * d * d,
        "absorb_key": scoring + projecting + k * s * d + k * d * d,
        "absorb_key_value": scoring + k * h * s * c + k * c * d + k * d * d,
        "absorb_output": 2 * projecting + k * s * d + s * d * d + k * h * s * d,
    }


def cheapest_order(sizes: Sizes) -> Order:
    """Return the order with the fewest multiplications, of queries that all images share.

    absorb_output counts double: it writes H * S * D numbers per image, which only a clear saving
    is worth.
    """
    costs = multiplications_of_orders(sizes)
    costs["absorb_output"] *= 2
    return min(costs, key=costs.__getitem__)


def attend_in_order(
    order: Order,
    q: Tensor,
    memory: Tensor,
    k_proj: nn.Linear,
    v_proj: nn.Linear,
    out_proj: nn.Linear,
    dropout: float = 0.0,
) -> Tensor:
    """Attend with shared queries in an order other than "plain".

    Args:
        order: the order of products.
        q: [K, H, E], projected.
        memory: [B, S, C], keys and values.
        k_proj, v_proj: from C to D.
        out_proj: from D to D.
        dropout: probability that an attention weight is dropped.

    Returns:
        [B, K, D]
    """
    q = q / math.sqrt(q.shape[-1])
    if order == "absorb_output":
        scores = torch.einsum("khe,bshe->bshk", q, k_proj(memory).unflatten(-1, q.shape[1:]))
    else:
        scores = absorb_key(q, memory, k_proj)
    weights = F.dropout(torch.softmax(scores, dim=1), dropout)
    if order == "absorb_key_value":
        return out_proj(absorb_value(weights, memory, v_proj))
    v = v_proj(memory).unflatten(-1, q.shape[1:])
    if order == "absorb_output":
        return absorb_output(weights, v, out_proj)
    return out_proj(torch.einsum("bshk,bshe->bkhe", weights, v).flatten(2))


def absorb_key(q: Tensor, memory: Tensor, k_proj: nn.Linear) -> Tensor:
    """Return scores [B, S, H, K] of queries [K, H, E] by `q . (W_k f) = (W_k' q) . f`.

    The bias of the keys adds the same to all scores of a query, and softmax ignores that.
    """
    weight = k_proj.weight.unflatten(0, q.shape[1:])
    absorbed = torch.einsum("khe,hec->hkc", q, weight)
    return F.linear(memory, absorbed.flatten(0, 1)).unflatten(-1, absorbed.shape[:2])


def absorb_value(weights: Tensor, memory: Tensor, v_proj: nn.Linear) -> Tensor:
    """Return `weights @ v_proj(memory)` [B, K, D]: average the memory [B, S, C], then project."""
    heads = weights.shape[2]
    averages = torch.bmm(weights.flatten(2).transpose(1, 2), memory).unflatten(1, weights.shape[2:])
    weight, bias = (x.unflatten(0, (heads, -1)) for x in (v_proj.weight, v_proj.bias))
    mixed = torch.einsum("bhkc,hec->bkhe", averages, weight)
    # dropped weights leave sums that are not 1
    sums = weights.sum(dim=1).transpose(1, 2).unsqueeze(-1)
    return (mixed + sums * bias).flatten(2)


def absorb_output(weights: Tensor, v: Tensor, out_proj: nn.Linear) -> Tensor:
    """Return `out_proj(weights @ v)` [B, K, D]: project values [B, S, H, E], then average."""
    projected = torch.einsum("bshe,ohe->bsho", v, out_proj.weight.unflatten(-1, v.shape[2:]))
    return torch.baddbmm(
        out_proj.bias, weights.flatten(1, 2).transpose(1, 2), projected.flatten(1, 2)
    )
