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

from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vtclip.feed_forward import FeedForward
from vtclip.multi_head import MultiHeadAttention
from vtclip.parts import sum_of_parts
from vtclip.precision import autocast

Norm = Literal["post", "pre"]

# (image, class) pairs worked on at once where no peak is asked for: large enough for products at
# full speed, small enough that what a product leaves behind is used again while it is warm
BLOCK_PAIRS = 8192


def visual_guided_logits(
    global_features: Tensor, visual_guided_texts: Tensor, scale: Tensor | float
) -> Tensor:
    """Match each image with its own visual-guided texts: `s * cos(g[b], VT[b, k])`.

    In fp32 at least, whatever autocast says.

    Args:
        global_features: g [B, D], any length.
        visual_guided_texts: VT [B, K, D], any length.
        scale: s, CLIP's exponentiated logit scale (about 100).

    Returns:
        Logits [B, K].
    """
    # times 100, what bf16 rounds away of a cosine would decide between classes
    with autocast(global_features.device, None):
        texts, images = (
            x.to(torch.promote_types(x.dtype, torch.float32))
            for x in (visual_guided_texts, global_features)
        )
        cosine: Tensor = _Cosine.apply(texts, F.normalize(images, dim=-1))
        return scale * cosine


class _Cosine(torch.autograd.Function):
    """Cosine [B, K] of vectors x [B, K, D] with unit vectors u [B, D].

    Autograd would make five tensors of the size of x on its way back; this makes one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, u: Tensor) -> Tensor:
        """Return the cosine; a vector of no length counts as one of 1e-12."""
        lengths = torch.linalg.vector_norm(x, dim=-1).clamp_min(1e-12)
        cosine = torch.bmm(x, u.unsqueeze(-1)).squeeze(-1) / lengths
        ctx.save_for_backward(x, u, lengths, cosine)
        return cosine

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of x and u."""
        x, u, lengths, cosine = ctx.saved_tensors
        along_u = (gradient / lengths).unsqueeze(-1)
        of_x = of_u = None
        if ctx.needs_input_grad[0]:
            along_x = along_u * (cosine / lengths).unsqueeze(-1)
            of_x = (x * along_x.neg()).baddbmm_(along_u, u.unsqueeze(1))
        if ctx.needs_input_grad[1]:
            of_u = torch.bmm(along_u.transpose(1, 2), x).squeeze(1)
        return of_x, of_u


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
        if self.self_attention is None:
            return texts
        x = self._before(texts, self.self_norm)
        return self._after(texts, self.self_attention(x, x), self.self_norm)

    def queries(self, texts: Tensor) -> Tensor:
        """Return what texts [B or 1, K, D] ask an image, in the same shape and type."""
        asked = self.cross_attention.query(self._before(texts, self.cross_norm))
        return asked.to(texts.dtype)

    def to_image(self, texts: Tensor, queries: Tensor, spatial_features: Tensor) -> Tensor:
        """Let texts look at spatial features [B, S, C].

        Args:
            texts: [B or 1, K, D].
            queries: theirs, of :meth:`queries`.
            spatial_features: [B, S, C].

        Returns:
            [B, K, D]
        """
        seen = self.cross_attention.attend(queries, spatial_features)
        x = self._after(texts, seen, self.cross_norm)
        if self.ffn is None:
            return x
        return self._after(x, self.ffn(self._before(x, self.ffn_norm)), self.ffn_norm)

    def start_at_zero(self) -> None:
        """Make the layer add nothing: pre-norm by its output projections, post-norm by its end."""
        if self.norm == "pre":
            parts = (self.self_attention, self.cross_attention, self.ffn)
            lasts: list[nn.Module] = [part.output for part in parts if part is not None]
        else:
            lasts = [self.cross_norm if self.ffn is None else self.ffn_norm]
        for parameter in (p for last in lasts for p in last.parameters()):
            nn.init.zeros_(parameter)

    def _before(self, x: Tensor, norm: nn.Module) -> Tensor:
        """Return what a part is given of x."""
        return norm(x) if self.norm == "pre" else x

    def _after(self, x: Tensor, change: Tensor, norm: nn.Module) -> Tensor:
        """Return x after a part has answered."""
        x = x + self.dropout(change)
        return x if self.norm == "pre" else norm(x)


class _Texts(NamedTuple):
    """What the K texts are before any image enters, each [1, K, D].

    Attributes:
        start: T, normalised.
        mixed: after the first self-attention.
        queries: what those ask an image.
    """

    start: Tensor
    mixed: Tensor
    queries: Tensor


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
        self.residual_ratio: float | nn.Parameter = residual_ratio
        if residual_learnt:
            self.residual_ratio = nn.Parameter(torch.tensor(residual_ratio))
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
        return self._guide(self._before_images(text_features), spatial_features)

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
                each about (4 + ffn_ratio) * D numbers (more with few classes), and computed again
                in the backward pass, which :meth:`cross_entropy` need not do. 0 holds those of all
                B * K pairs.

        Returns:
            Logits [B, K], the same for every `max_pairs`.
        """
        texts = self._before_images(text_features)
        return self._logits(texts, global_features, spatial_features, scale, max_pairs)

    def cross_entropy(
        self,
        text_features: Tensor,
        global_features: Tensor,
        spatial_features: Tensor,
        labels: Tensor,
        scale: Tensor | float,
        *,
        offset: Tensor | None = None,
        max_pairs: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy of the logits, at a bounded peak and without recomputing.

        Only this module's parameters may require gradients for that; where an argument does too,
        activations are computed again as by :meth:`logits`.

        Args:
            text_features, global_features, spatial_features, scale: as for :meth:`logits`.
            labels: [B], int64.
            offset: [B, K], added to the logits.
            max_pairs: as for :meth:`logits`, but activations are computed again only where one
                image alone has more pairs.

        Returns:
            The loss, a scalar for one `backward()`, with the same gradients for every `max_pairs`;
            and the logits [B, K] without a graph.
        """
        start, *shared = self._before_images(text_features)
        n_images, n_classes = len(global_features), len(text_features)

        def loss(rows: slice, mixed: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
            logits = self._logits(
                _Texts(start, mixed, queries),
                global_features[rows],
                spatial_features[rows],
                scale,
                max_pairs,
            )
            logits = logits if offset is None else logits + offset[rows]
            total = F.cross_entropy(logits, labels[rows], reduction="sum")
            return total / n_images, logits.detach()

        given = (text_features, global_features, spatial_features, scale, offset)
        trained = [p for p in self.parameters() if p.requires_grad]
        count = _count_of_chunks(n_images, n_classes, max_pairs or n_images * n_classes)
        if (
            count == 1
            or not (trained and torch.is_grad_enabled())
            or any(isinstance(x, Tensor) and x.requires_grad for x in given)
        ):
            return loss(slice(None), *shared)
        bounds = [n_images * i // count for i in range(count + 1)]
        parts = (partial(loss, slice(*pair)) for pair in pairwise(bounds))
        summed, scores = sum_of_parts(parts, shared, trained)
        return summed, torch.cat(scores)

    def _before_images(self, text_features: Tensor) -> _Texts:
        start = F.normalize(text_features, dim=-1).unsqueeze(0)
        mixed = self._decoder[0].among_texts(start)
        return _Texts(start, mixed, self._decoder[0].queries(mixed))

    def _logits(
        self,
        texts: _Texts,
        global_features: Tensor,
        spatial_features: Tensor,
        scale: Tensor | float,
        max_pairs: int,
    ) -> Tensor:
        def part(texts: _Texts, globals_: Tensor, spatials: Tensor) -> Tensor:
            return visual_guided_logits(globals_, self._guide(texts, spatials), scale)

        n_images, n_classes = len(global_features), texts.start.shape[1]
        pairs = max_pairs or BLOCK_PAIRS
        if pairs >= n_images * n_classes:
            return part(texts, global_features, spatial_features)

        # in later layers the classes see each other, so that none can be left for the next chunk
        classes_are_apart = len(self.layers) == 1 or self._decoder[0].self_attention is None
        columns = _count_of_chunks(n_classes, 1, pairs) if classes_are_apart else 1
        rows = _count_of_chunks(n_images, -(-n_classes // columns), pairs)
        # without gradients nothing is held for a backward pass, so nothing need be computed again
        recompute = bool(max_pairs) and torch.is_grad_enabled()
        run = partial(checkpoint, part, use_reentrant=False) if recompute else part
        images = zip(
            global_features.tensor_split(rows), spatial_features.tensor_split(rows), strict=True
        )
        split = (tensor.tensor_split(columns, dim=1) for tensor in texts)
        classes = [_Texts(*chunk) for chunk in zip(*split, strict=True)]
        return torch.cat(
            [torch.cat([run(chunk, *image) for chunk in classes], dim=1) for image in images]
        )

    def _guide(self, texts: _Texts, spatial_features: Tensor) -> Tensor:
        """Return the visual-guided texts [B, K, D] of B images."""
        spatial_features = F.normalize(spatial_features, dim=-1)
        first, *others = self._decoder
        x = first.to_image(texts.mixed, texts.queries, spatial_features)
        for layer in others:
            mixed = layer.among_texts(x)
            x = layer.to_image(mixed, layer.queries(mixed), spatial_features)
        attended = x - texts.start if self.norm == "pre" else x
        if isinstance(self.residual_ratio, Tensor):
            return torch.addcmul(texts.start, self.residual_ratio, attended)
        return torch.add(texts.start, attended, alpha=self.residual_ratio)


def _count_of_chunks(n_items: int, pairs_each: int, max_pairs: int) -> int:
    """Return into how many chunks to split items: of `max_pairs` pairs at most, or of one item."""
    return -(-n_items // max(1, max_pairs // pairs_each))
