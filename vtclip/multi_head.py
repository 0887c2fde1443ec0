"""Multi-head attention that multiplies in the cheapest order.

The queries of VT-CLIP's first layer are the same for all images, so what they cost once is nearly
free, and the products can be ordered in four ways (per image, K queries, S locations, H heads):

    plain    project the memory to keys and values, attend, project the K mixtures
    ask      let the queries, projected back by W_key, score the memory itself
    gather   as ask, and mix the memory itself; the mixtures are projected, no location is
    fold     project the S values of each head to the output before they are mixed

All give the same numbers up to rounding.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Order = Literal["plain", "ask", "gather", "fold"]


class Sizes(NamedTuple):
    """What the cost of an order depends on: B, K, S, H, D and C."""

    n_images: int
    n_queries: int
    n_keys: int
    n_heads: int
    dim: int
    memory_dim: int


def multiplications_of_orders(sizes: Sizes) -> dict[Order, float]:
    """Count the multiplications an image of each order, of queries that all images share."""
    b, k, s, h, d, c = sizes
    asking, projecting = k * h * s * c + k * d * c / b, s * c * d
    return {
        "plain": 2 * projecting + 2 * k * s * d + k * d * d,
        "ask": asking + projecting + k * s * d + k * d * d,
        "gather": asking + k * h * s * c + k * c * d + k * d * d,
        "fold": 2 * projecting + k * s * d + s * d * d + k * h * s * d,
    }


def cheapest_order(sizes: Sizes) -> Order:
    """Return the order with the fewest multiplications, of queries that all images share.

    Folding counts double: it writes H * S * D numbers an image, which only a clear saving pays for.
    """
    costs = multiplications_of_orders(sizes)
    costs["fold"] *= 2
    return min(costs, key=costs.__getitem__)


class MultiHeadAttention(nn.Module):
    """Multi-head attention whose queries may be shared by all images of a batch.

    Args:
        dim: D, width of queries and outputs.
        memory_dim: C, width of keys and values before their projection.
        n_heads: H, a divisor of D.
        dropout: probability that an attention weight is dropped, in [0, 1).
    """

    def __init__(self, dim: int, memory_dim: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % n_heads:
            raise ValueError(f"{n_heads} heads do not divide a width of {dim}")
        self.n_heads = n_heads
        self.dropout = dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(memory_dim, dim)
        self.value = nn.Linear(memory_dim, dim)
        self.output = nn.Linear(dim, dim)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Attend.

        Args:
            queries: [B, K, D], or [1, K, D] when all images ask the same.
            memory: [B, S, C], keys and values.

        Returns:
            [B, K, D]
        """
        return self.attend(self.query(queries), memory)

    def attend(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Attend with queries that :attr:`query` has projected; see :meth:`forward`."""
        q = self._split(queries)
        order = self.order(queries, memory)
        if order == "plain":
            return self._attend_plain(q, memory)
        q = q[0] / math.sqrt(q.shape[-1])
        scores = self._project_and_score(q, memory) if order == "fold" else self._ask(q, memory)
        weights = F.dropout(torch.softmax(scores, dim=1), self._dropout_now())
        mix = {"ask": self._mix, "gather": self._gather, "fold": self._fold}[order]
        return mix(weights, memory)

    def order(self, queries: Tensor, memory: Tensor) -> Order:
        """Return the order of products for these arguments of :meth:`forward`."""
        n_images, n_keys, memory_dim = memory.shape
        if len(queries) != 1:
            return "plain"
        n_queries, dim = queries.shape[1:]
        return cheapest_order(Sizes(n_images, n_queries, n_keys, self.n_heads, dim, memory_dim))

    def _split(self, x: Tensor) -> Tensor:
        """Split [B, N, D] into heads [B, N, H, E], E = D / H."""
        return x.unflatten(-1, (self.n_heads, -1))

    def _dropout_now(self) -> float:
        return self.dropout if self.training else 0.0

    def _attend_plain(self, q: Tensor, memory: Tensor) -> Tensor:
        """Attend with queries [B or 1, K, H, E], whose copies for every image are views."""
        q, k, v = (
            x.transpose(1, 2)
            for x in (q, self._split(self.key(memory)), self._split(self.value(memory)))
        )
        mixed = F.scaled_dot_product_attention(
            q.expand(len(memory), -1, -1, -1), k, v, dropout_p=self._dropout_now()
        )
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _project_and_score(self, q: Tensor, memory: Tensor) -> Tensor:
        """Return scores [B, S, H, K] of queries [K, H, E]: one large product a head."""
        return torch.einsum("khe,bshe->bshk", q, self._split(self.key(memory)))

    def _ask(self, q: Tensor, memory: Tensor) -> Tensor:
        """Return the scores by `q . (W_key f) = (W_key' q) . f`.

        The bias of the keys adds the same to all scores of a query, which softmax does not see.
        """
        w_key = self.key.weight.unflatten(0, (self.n_heads, -1))
        asked = torch.einsum("khe,hec->hkc", q, w_key)
        return F.linear(memory, asked.flatten(0, 1)).unflatten(-1, asked.shape[:2])

    def _mix(self, weights: Tensor, memory: Tensor) -> Tensor:
        """Mix the values by weights [B, S, H, K], then project."""
        v = self._split(self.value(memory))
        return self.output(torch.einsum("bshk,bshe->bkhe", weights, v).flatten(2))

    def _gather(self, weights: Tensor, memory: Tensor) -> Tensor:
        """Mix the memory itself, then project to values and to the output."""
        gathered = torch.bmm(weights.flatten(2).transpose(1, 2), memory)
        gathered = gathered.unflatten(1, weights.shape[2:])
        w_value, b_value = (
            x.unflatten(0, (self.n_heads, -1)) for x in (self.value.weight, self.value.bias)
        )
        mixed = torch.einsum("bhkc,hec->bkhe", gathered, w_value)
        # dropped weights leave sums that are not 1
        sums = weights.sum(dim=1).transpose(1, 2).unsqueeze(-1)
        return self.output((mixed + sums * b_value).flatten(2))

    def _fold(self, weights: Tensor, memory: Tensor) -> Tensor:
        """Project the S values of each head, then mix them."""
        v = self._split(self.value(memory))
        projected = torch.einsum("bshe,ohe->bsho", v, self._split(self.output.weight))
        return torch.baddbmm(
            self.output.bias, weights.flatten(1, 2).transpose(1, 2), projected.flatten(1, 2)
        )
