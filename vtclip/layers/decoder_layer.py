"""A Transformer decoder layer whose texts may be shared by all images of a batch."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from vtclip.layers.feed_forward import FeedForward
from vtclip.layers.multi_head import MultiHeadAttention

Norm = Literal["post", "pre"]


class DecoderLayer(nn.Module):
    """A Transformer decoder layer: self-attention, cross-attention, feed-forward.

    Each part f is used as `norm(x + f(x))` (post-norm) or `x + f(norm(x))` (pre-norm).
    """

    def __init__(
        self,
        dim: int,
        spatial_dim: int,
        *,
        num_heads: int,
        self_attention: bool,
        ffn_ratio: float,
        norm: Norm,
        dropout: float,
        fast: bool = True,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = nn.Dropout(dropout)
        self.self_attention: MultiHeadAttention | None = None
        self.ffn: FeedForward | None = None
        if self_attention:
            self.self_attention = MultiHeadAttention(dim, dim, num_heads, dropout, fast=fast)
            self.self_norm = nn.LayerNorm(dim)
        self.cross_attention = MultiHeadAttention(dim, spatial_dim, num_heads, dropout, fast=fast)
        self.cross_norm = nn.LayerNorm(dim)
        if ffn_ratio > 0:
            self.ffn = FeedForward(dim, ffn_ratio, dropout, fast=fast)
            self.ffn_norm = nn.LayerNorm(dim)

    def forward(self, texts: Tensor, spatial_features: Tensor) -> Tensor:
        """Map texts [B or 1, K, D] and spatial features [B, S, C] to texts [B, K, D]."""
        texts = self.self_attend(texts)
        return self.cross_attend(texts, self.project_queries(texts), spatial_features)

    def self_attend(self, texts: Tensor, classes: Tensor | None = None) -> Tensor:
        """Apply the self-attention over K classes; it does not depend on the image.

        Args:
            texts: [B, K, D].
            classes: [R], int64, those whose texts are wanted; None for all.

        Returns:
            [B, R, D], the texts wanted after they have attended to all K.
        """
        wanted = texts if classes is None else texts.index_select(1, classes)
        if self.self_attention is None:
            return wanted
        keys = self._before(texts, self.self_norm)
        queries = keys if classes is None else keys.index_select(1, classes)
        return self._after(wanted, self.self_attention(queries, keys), self.self_norm)

    def project_queries(self, texts: Tensor) -> Tensor:
        """Return the queries of the cross-attention [B or 1, K, D] for texts of that shape."""
        queries = self.cross_attention.q_proj(self._before(texts, self.cross_norm))
        return queries.to(texts.dtype)

    def cross_attend(self, texts: Tensor, queries: Tensor, spatial_features: Tensor) -> Tensor:
        """Apply the cross-attention to the spatial features, and the feed-forward part.

        Args:
            texts: [B or 1, K, D].
            queries: their :meth:`project_queries`.
            spatial_features: [B, S, C].

        Returns:
            [B, K, D]
        """
        attended = self.cross_attention.attend(queries, spatial_features)
        x = self._after(texts, attended, self.cross_norm)
        if self.ffn is None:
            return x
        return self._after(x, self.ffn(self._before(x, self.ffn_norm)), self.ffn_norm)

    def start_at_zero(self) -> None:
        """Set the last operation before the residual to zero, so that the layer adds nothing.

        With pre-norm these are the output projections, with post-norm it is the last norm.
        """
        last: list[nn.Module] = [self.cross_norm if self.ffn is None else self.ffn_norm]
        if self.norm == "pre":
            last = [a.out_proj for a in (self.self_attention, self.cross_attention) if a]
            last += [self.ffn.fc2] if self.ffn else []
        for parameter in (p for module in last for p in module.parameters()):
            nn.init.zeros_(parameter)

    def _before(self, x: Tensor, norm: nn.Module) -> Tensor:
        """Return the input of a part, given x."""
        return norm(x) if self.norm == "pre" else x

    def _after(self, x: Tensor, change: Tensor, norm: nn.Module) -> Tensor:
        """Return x with the output of a part added."""
        x = x + self.dropout(change)
        return x if self.norm == "pre" else norm(x)
