"""Visual-guided attention (VT-CLIP, arXiv 2112.02399): texts that look at the image.

Each class's text is a query, the spatial features of the image are keys and values, and a residual
keeps the text: `VT = T + Attend(T, F)`. In a notebook:

    from vtclip.attention import VisualGuidedAttention, visual_guided_logits
    head = VisualGuidedAttention(dim=1024)
    texts = head(text_features, spatial_features)
    logits = visual_guided_logits(global_features, texts, scale=100.0)

No code of the paper was released; docs/method.md says which choices are known and which assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

Norm = Literal["post", "pre"]

# (image, class) pairs worked on at once where no peak is asked for: large enough for products at
# full speed, small enough that what a product leaves behind is used again while it is warm
BLOCK_PAIRS = 8192


def visual_guided_logits(
    global_features: Tensor, visual_guided_texts: Tensor, scale: Tensor | float
) -> Tensor:
    """Match each image with its own visual-guided texts: `s * cos(g[b], VT[b, k])`.

    Args:
        global_features: g [B, D], any length.
        visual_guided_texts: VT [B, K, D], any length.
        scale: s, CLIP's exponentiated logit scale (about 100).

    Returns:
        Logits [B, K].
    """
    dots = torch.bmm(visual_guided_texts, F.normalize(global_features, dim=-1).unsqueeze(-1))
    # dividing the dot product spares a normalised copy of the [B, K, D] texts
    lengths = torch.linalg.vector_norm(visual_guided_texts, dim=-1).clamp_min(1e-12)
    return scale * dots.squeeze(-1) / lengths


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
        q = self._split(self.query(queries))
        k = self._split(self.key(memory))
        v = self._split(self.value(memory))
        if self._folding_is_cheaper(n_queries=queries.shape[1], n_keys=memory.shape[1]):
            return self._attend_folded(q, k, v)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(
            q.expand(len(memory), -1, -1, -1), k, v, dropout_p=self._dropout_now()
        )
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """Split [B, N, D] into heads [B, N, H, D / H]."""
        return x.view(*x.shape[:-1], self.n_heads, -1)

    def _dropout_now(self) -> float:
        return self.dropout if self.training else 0.0

    def _folding_is_cheaper(self, n_queries: int, n_keys: int) -> bool:
        """Compare the multiplications an image of both orders of `weights @ V @ W_output`."""
        dim = self.output.in_features
        folded = n_keys * dim * dim + n_queries * self.n_heads * n_keys * dim
        plain = n_queries * n_keys * dim + n_queries * dim * dim
        # folding writes H * S * D numbers an image, which only a clear saving pays for
        return 2 * folded < plain

    def _attend_folded(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Project the S values of each head before mixing, instead of the K mixtures after it."""
        heads, per_head = v.shape[2:]
        q = q / math.sqrt(per_head)
        # queries that all images share make one large product a head, and one gradient
        scores = (
            torch.einsum("khd,bshd->bhsk", q[0], k)
            if len(q) == 1
            else torch.einsum("bkhd,bshd->bhsk", q, k)
        )
        weights = F.dropout(torch.softmax(scores, dim=2), self._dropout_now())
        by_head = self.output.weight.view(-1, heads, per_head)
        projected = torch.einsum("bshd,ohd->bhso", v, by_head)
        return torch.baddbmm(
            self.output.bias, weights.flatten(1, 2).transpose(1, 2), projected.flatten(1, 2)
        )


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, as in the original Transformer."""

    def __init__(self, dim: int, ratio: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, round(dim * ratio))
        self.output = nn.Linear(round(dim * ratio), dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        # in place: the widest tensor of the layer is held once
        return self.output(self.dropout(F.relu(self.inner(x), inplace=True)))


class DecoderLayer(nn.Module):
    """A Transformer-decoder layer: among the texts, to the image, feed-forward.

    Each part f is used as `norm(x + f(x))` (post-norm) or `x + f(norm(x))` (pre-norm).
    """

    def __init__(
        self,
        dim: int,
        spatial_dim: int,
        *,
        n_heads: int,
        self_attention: bool,
        ffn_ratio: float,
        norm: Norm,
        dropout: float,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = nn.Dropout(dropout)
        self.self_attention: MultiHeadAttention | None = None
        self.ffn: FeedForward | None = None
        if self_attention:
            self.self_attention = MultiHeadAttention(dim, dim, n_heads, dropout)
            self.self_norm = nn.LayerNorm(dim)
        self.cross_attention = MultiHeadAttention(dim, spatial_dim, n_heads, dropout)
        self.cross_norm = nn.LayerNorm(dim)
        if ffn_ratio > 0:
            self.ffn = FeedForward(dim, ffn_ratio, dropout)
            self.ffn_norm = nn.LayerNorm(dim)

    def among_texts(self, texts: Tensor) -> Tensor:
        """Apply the self-attention over K classes to [B, K, D], the part that no image enters."""
        attend = self.self_attention
        if attend is None:
            return texts
        return self._residual(texts, self.self_norm, lambda x: attend(x, x))

    def to_image(self, texts: Tensor, spatial_features: Tensor) -> Tensor:
        """Let texts [B or 1, K, D] look at spatial features [B, S, C]; return [B, K, D]."""
        x = self._residual(
            texts, self.cross_norm, lambda q: self.cross_attention(q, spatial_features)
        )
        return x if self.ffn is None else self._residual(x, self.ffn_norm, self.ffn)

    def start_at_zero(self) -> None:
        """Make the layer add nothing: pre-norm by its output projections, post-norm by its end."""
        if self.norm == "pre":
            parts = (self.self_attention, self.cross_attention, self.ffn)
            lasts: list[nn.Module] = [part.output for part in parts if part is not None]
        else:
            lasts = [self.cross_norm if self.ffn is None else self.ffn_norm]
        for parameter in (p for last in lasts for p in last.parameters()):
            nn.init.zeros_(parameter)

    def _residual(self, x: Tensor, norm: nn.Module, part: Callable[[Tensor], Tensor]) -> Tensor:
        if self.norm == "pre":
            return x + self.dropout(part(norm(x)))
        return norm(x + self.dropout(part(x)))


class VisualGuidedAttention(nn.Module):
    """The trained module of VT-CLIP: `VT = T + r * Attend(T, F)`.

    `Attend` is what the decoder layers make of the texts (post-norm), or what they add to them
    (pre-norm, whose own residual already carries T).

    Args:
        dim: D, width of the text features.
        spatial_dim: C, width of the spatial features (None: D, the joint space).
        n_layers, n_heads: of the decoder; `n_heads` divides `dim`.
        self_attention: whether the K texts see each other first.
        ffn_ratio: width of the feed-forward part over `dim`; 0 leaves it out.
        norm: "post" as in the original Transformer, or "pre".
        dropout: in [0, 1).
        zero_init: start with `Attend` = 0, or none of its direction changed, so that the first
            logits are zero-shot CLIP's.
        residual_ratio: r.
        residual_learnt: whether r is trained.
    """

    def __init__(
        self,
        dim: int,
        spatial_dim: int | None = None,
        *,
        n_layers: int = 1,
        n_heads: int = 8,
        self_attention: bool = True,
        ffn_ratio: float = 4.0,
        norm: Norm = "post",
        dropout: float = 0.0,
        zero_init: bool = True,
        residual_ratio: float = 1.0,
        residual_learnt: bool = False,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.layers = nn.ModuleList(
            DecoderLayer(
                dim,
                spatial_dim or dim,
                n_heads=n_heads,
                self_attention=self_attention,
                ffn_ratio=ffn_ratio,
                norm=norm,
                dropout=dropout,
            )
            for _ in range(n_layers)
        )
        self.residual_ratio: Tensor
        if residual_learnt:
            self.residual_ratio = nn.Parameter(torch.tensor(residual_ratio))
        else:
            self.register_buffer("residual_ratio", torch.tensor(residual_ratio))
        if zero_init:
            # post-norm: the end of the last layer decides alone; pre-norm: every layer adds
            for layer in self._decoder if norm == "pre" else self._decoder[-1:]:
                layer.start_at_zero()

    @property
    def _decoder(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def forward(self, text_features: Tensor, spatial_features: Tensor) -> Tensor:
        """Return the visual-guided texts [B, K, D] of B images, not normalised.

        Args:
            text_features: T [K, D], any length.
            spatial_features: F [B, S, C], any length.
        """
        texts = F.normalize(text_features, dim=-1).unsqueeze(0)
        return self._guide(texts, self._decoder[0].among_texts(texts), spatial_features)

    def logits(
        self,
        text_features: Tensor,
        global_features: Tensor,
        spatial_features: Tensor,
        scale: Tensor | float,
        *,
        max_pairs: int = 0,
    ) -> Tensor:
        """Return `visual_guided_logits` of this module's texts, at a bounded peak of memory.

        Args:
            text_features, spatial_features: as for :meth:`forward`.
            global_features: g [B, D], any length.
            scale: s, the exponentiated logit scale.
            max_pairs: the activations of at most so many (image, class) pairs are held at once,
                each about (4 + ffn_ratio) * D numbers, and computed again in the backward pass.
                0 holds those of all B * K pairs until then, which is faster.

        Returns:
            Logits [B, K], the same for every `max_pairs`.
        """
        texts = F.normalize(text_features, dim=-1).unsqueeze(0)
        mixed = self._decoder[0].among_texts(texts)

        def part(texts: Tensor, mixed: Tensor, globals_: Tensor, spatials: Tensor) -> Tensor:
            return visual_guided_logits(globals_, self._guide(texts, mixed, spatials), scale)

        n_images, n_classes = len(global_features), len(text_features)
        pairs = max_pairs or BLOCK_PAIRS
        if pairs >= n_images * n_classes:
            return part(texts, mixed, global_features, spatial_features)

        # in later layers the classes see each other, so that none can be left for the next chunk
        classes_are_apart = len(self.layers) == 1 or self._decoder[0].self_attention is None
        width = min(n_classes, pairs) if classes_are_apart else n_classes
        height = max(1, pairs // width)
        # without gradients nothing is held for a backward pass, so nothing need be computed again
        recompute = bool(max_pairs) and torch.is_grad_enabled()
        run = partial(checkpoint, part, use_reentrant=False) if recompute else part
        rows = []
        for globals_, spatials in zip(
            torch.split(global_features, height), torch.split(spatial_features, height), strict=True
        ):
            cells = [
                run(t, m, globals_, spatials)
                for t, m in zip(
                    torch.split(texts, width, 1), torch.split(mixed, width, 1), strict=True
                )
            ]
            rows.append(torch.cat(cells, dim=1))
        return torch.cat(rows)

    def _guide(self, texts: Tensor, mixed: Tensor, spatial_features: Tensor) -> Tensor:
        """Finish what `mixed`, the texts after the first self-attention, began: [B, K, D]."""
        spatial_features = F.normalize(spatial_features, dim=-1)
        first, *others = self._decoder
        x = first.to_image(mixed, spatial_features)
        for layer in others:
            x = layer.to_image(layer.among_texts(x), spatial_features)
        attended = x - texts if self.norm == "pre" else x
        return torch.addcmul(texts, self.residual_ratio, attended)
