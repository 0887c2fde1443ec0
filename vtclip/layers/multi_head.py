"""Multi-head attention whose queries may be shared by all images of a batch."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vtclip.layers.fast_path import fast_path_allowed, forbid_create_graph
from vtclip.layers.product_order import Order, Sizes, attend_in_order, cheapest_order


class MultiHeadAttention(nn.Module):
    """Multi-head attention, `out_proj(softmax(q k' / sqrt(E)) v)` for each head of width E = D / H.

    Args:
        dim: D, width of queries and outputs.
        memory_dim: C, width of keys and values before their projection.
        num_heads: H, a divisor of D.
        dropout: probability that an attention weight is dropped, in [0, 1).
        fast: use torch's fused attention, and order the products of shared queries by their cost
            (see product_order).
    """

    def __init__(
        self,
        dim: int,
        memory_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        *,
        fast: bool = True,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"num_heads {num_heads} does not divide dim {dim}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.fast = fast
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(memory_dim, dim)
        self.v_proj = nn.Linear(memory_dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Attend.

        Args:
            queries: [B, K, D], or [1, K, D] when all images share them.
            memory: [B, S, C], keys and values.

        Returns:
            [B, K, D]
        """
        return self.attend(self.q_proj(queries), memory)

    def attend(self, q: Tensor, memory: Tensor) -> Tensor:
        """Attend with queries that `q_proj` has projected; shapes as for :meth:`forward`."""
        dropout = self.dropout if self.training else 0.0
        order = self.order(q, memory) if self.fast else "plain"
        if order != "plain":
            q = q[0].unflatten(-1, (self.num_heads, -1))
            projections = (self.k_proj, self.v_proj, self.out_proj)
            return attend_in_order(order, q, memory, *projections, dropout)
        v = self._heads_of(self.v_proj(memory))
        if self.fast and fast_path_allowed():
            k = self._heads_of(self.k_proj(memory))
            # the copies of shared queries are views
            q = self._heads_of(q).expand(len(memory), -1, -1, -1)
            mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
            if mixed.requires_grad:
                mixed.register_hook(partial(forbid_create_graph, "scaled_dot_product_attention"))
        else:
            weights = F.dropout(self.attention_weights(q, memory), dropout)
            mixed = weights.to(v.dtype) @ v
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def attention_weights(self, q: Tensor, memory: Tensor) -> Tensor:
        """Return the attention weights [B, H, K, S] that :meth:`attend` uses, before dropout.

        In fp32 at least; for each image, head and query they sum to 1 over the S locations.
        """
        q, k = self._heads_of(q), self._heads_of(self.k_proj(memory))
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        dtype = torch.promote_types(scores.dtype, torch.float32)
        return torch.softmax(scores, dim=-1, dtype=dtype)

    def order(self, queries: Tensor, memory: Tensor) -> Order:
        """Return the cheapest order of products for these arguments of :meth:`forward`."""
        n_images, n_keys, memory_dim = memory.shape
        if len(queries) != 1:
            return "plain"
        n_queries, dim = queries.shape[1:]
        return cheapest_order(Sizes(n_images, n_queries, n_keys, self.num_heads, dim, memory_dim))

    def _heads_of(self, x: Tensor) -> Tensor:
        """Split [B, N, D] into heads [B, H, N, E]."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
