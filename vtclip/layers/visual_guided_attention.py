"""Visual-guided attention (VT-CLIP, arXiv 2112.02399): texts that look at the image.

For K classes with text features T [K, D], and B images with global features g [B, D] and spatial
features F [B, S, C] at S locations, all normalised to length 1::

    (1)  VT[b] = T + r * Attend(T, F[b])           VisualGuidedAttention.forward
    (2)  logits[b, k] = s * cos(g[b], VT[b, k])    visual_guided_logits
    (3)  loss = cross-entropy of the logits        VisualGuidedAttention.cross_entropy

`Attend` is a Transformer decoder: self-attention over the K texts, cross-attention in which the
texts are queries and the spatial features keys and values, then a feed-forward part. No code of the
paper was released; docs/method.md says which choices are known and which are assumed.

With fast=True (the default) the same numbers, up to rounding, are computed in less time and memory
by the functions beside this module. Where those cannot run (torch.func, vmap, forward-mode
differentiation, torch.compile) the plain path is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vtclip.layers.chunked_loss import chunked_logits, chunked_loss, count_of_chunks
from vtclip.layers.decoder_layer import DecoderLayer, Norm
from vtclip.layers.fast_cosine import fast_cosine
from vtclip.layers.fast_path import fast_path_allowed
from vtclip.layers.shortlist import filled_in, texts_of
from vtclip.methods.zero_shot import cosine_logits
from vtclip.precision import autocast


def visual_guided_logits(
    global_features: Tensor,
    visual_guided_texts: Tensor,
    scale: Tensor | float,
    *,
    fast: bool = True,
) -> Tensor:
    """Compare each image with its own visual-guided texts, equation (2).

    In fp32 at least, also under autocast.

    Args:
        global_features: g [B, D], of any length.
        visual_guided_texts: VT [B, K, D], of any length.
        scale: s, CLIP's exponentiated logit scale (about 100).
        fast: use less memory in the backward pass.

    Returns:
        Logits [B, K].

    >>> texts = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])  # one image, two classes
    >>> visual_guided_logits(torch.tensor([[3.0, 4.0]]), texts, scale=100.0).round()
    tensor([[60., 80.]])
    """
    # scaled by 100, the rounding errors of a cosine in bf16 would decide between classes
    dtype = torch.promote_types(global_features.dtype, visual_guided_texts.dtype)
    dtype = torch.promote_types(dtype, torch.float32)
    with autocast(global_features.device, None):
        images, texts = (
            F.normalize(global_features.to(dtype), dim=-1),
            visual_guided_texts.to(dtype),
        )
        if fast and fast_path_allowed():
            return scale * fast_cosine(texts, images)
        return scale * torch.einsum("bkd,bd->bk", F.normalize(texts, dim=-1), images)


class SharedTexts(NamedTuple):
    """The K texts as far as they do not depend on the image, each [1, K, D], once per batch.

    Attributes:
        start: T, normalised.
        mixed: after the self-attention of the first layer; with shortlists, of the classes that
            they name alone, [1, R, D].
        queries: the queries of its cross-attention, as many.
    """

    start: Tensor
    mixed: Tensor
    queries: Tensor


class VisualGuidedAttention(nn.Module):
    """The trained module of VT-CLIP, equation (1).

    `Attend` is the output of the decoder layers (post-norm), or what they add to the texts
    (pre-norm, whose own residual already contains T). Features of another type are converted to
    that of the parameters.

    Args:
        dim: D, width of the text features.
        spatial_dim: C, width of the spatial features (None: D, the joint space).
        num_layers: number of decoder layers.
        num_heads: H, number of attention heads, a divisor of `dim`.
        self_attention: whether there is a self-attention over the K texts.
        ffn_ratio: width of the feed-forward part over `dim`; 0 leaves it out.
        norm: "post" as in the original Transformer, or "pre".
        dropout: in [0, 1).
        zero_init: start with `Attend` = 0, so that the first logits are those of zero-shot CLIP.
        residual_ratio: r.
        residual_learnt: whether r is trained.
        fast: use the fast functions where they can run; False takes the plain path everywhere.

    >>> head = VisualGuidedAttention(dim=16, num_heads=4)
    >>> text_features, spatial_features = torch.randn(5, 16), torch.randn(2, 49, 16)
    >>> head(text_features, spatial_features).shape
    torch.Size([2, 5, 16])
    >>> texts, weights = head(text_features, spatial_features, need_weights=True)
    >>> weights.shape
    torch.Size([2, 4, 5, 49])
    """

    def __init__(
        self,
        dim: int,
        spatial_dim: int | None = None,
        *,
        num_layers: int = 1,
        num_heads: int = 8,
        self_attention: bool = True,
        ffn_ratio: float = 4.0,
        norm: Norm = "post",
        dropout: float = 0.0,
        zero_init: bool = True,
        residual_ratio: float = 1.0,
        residual_learnt: bool = False,
        fast: bool = True,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.fast = fast
        self.layers = nn.ModuleList(
            DecoderLayer(
                dim,
                spatial_dim or dim,
                num_heads=num_heads,
                self_attention=self_attention,
                ffn_ratio=ffn_ratio,
                norm=norm,
                dropout=dropout,
                fast=fast,
            )
            for _ in range(num_layers)
        )
        self.residual_ratio: float | nn.Parameter = residual_ratio
        if residual_learnt:
            self.residual_ratio = nn.Parameter(torch.tensor(residual_ratio))
        if zero_init:
            # post-norm: the last layer decides alone; pre-norm: every layer adds to the texts
            for layer in self._decoder if norm == "pre" else self._decoder[-1:]:
                layer.start_at_zero()

    def forward(
        self, text_features: Tensor, spatial_features: Tensor, *, need_weights: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the visual-guided texts, equation (1).

        Args:
            text_features: T [K, D], of any length.
            spatial_features: F [B, S, C], of any length.
            need_weights: return the attention weights, too.

        Returns:
            VT [B, K, D], not normalised. With `need_weights` a tuple: VT, and the weights
            [B, H, K, S] of the last layer's cross-attention, which sum to 1 over the S locations;
            dropout changes VT alone.
        """
        texts = self._shared_texts(text_features)
        spatial_features = self._normalize(spatial_features)
        attended, queries = self._attend(texts, spatial_features, self._decoder)
        guided = self._add_residual(texts.start, attended)
        if not need_weights:
            return guided
        attention = self._decoder[-1].cross_attention
        return guided, attention.attention_weights(queries, spatial_features)

    def attention_weights(
        self, text_features: Tensor, spatial_features: Tensor, layer: int = -1
    ) -> Tensor:
        """Return the weights [B, H, K, S] of the cross-attention of a layer.

        Args:
            text_features, spatial_features: as for :meth:`forward`.
            layer: counted from 0, or from the last one as -1.
        """
        spatial_features = self._normalize(spatial_features)
        last = layer % len(self.layers)
        layers = self._decoder[: last + 1]
        _, queries = self._attend(self._shared_texts(text_features), spatial_features, layers)
        return layers[-1].cross_attention.attention_weights(queries, spatial_features)

    def logits(
        self,
        text_features: Tensor,
        global_features: Tensor,
        spatial_features: Tensor,
        scale: Tensor | float,
        *,
        max_pairs: int = 0,
        shortlist: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of equation (2), with a bounded peak of memory.

        Args:
            text_features, spatial_features: as for :meth:`forward`.
            global_features: g [B, D], of any length.
            scale: s, the exponentiated logit scale.
            max_pairs: the activations of at most so many (image, class) pairs are held at once,
                each about (4 + ffn_ratio) * D numbers (more with few classes), and computed again
                in the backward pass, which :meth:`cross_entropy` need not do. 0 holds those of all
                B * K pairs, and so does the plain path.
            shortlist: [B, M], int64, for each image the classes whose texts it guides; the other
                classes keep zero-shot CLIP's logits. None: all classes. Where texts of later
                layers attend to each other, to those of the shortlist alone.

        Returns:
            Logits [B, K], the same for every `max_pairs`.
        """
        images = global_features, spatial_features
        if shortlist is not None:
            named, places = self._named(shortlist)
            texts = self._shared_texts(text_features, named)
            return self._shortlist_logits(texts, *images, shortlist, places, scale, max_pairs)
        return self._logits(self._shared_texts(text_features), *images, scale, max_pairs)

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
        shortlist: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy of the logits, equation (3), and the logits.

        The peak of memory is bounded without computing activations twice, if only parameters of
        this module require gradients; if an argument does too, as by :meth:`logits`.

        Args:
            text_features, global_features, spatial_features, scale: as for :meth:`logits`.
            labels: [B], int64.
            offset: [B, K], added to the logits.
            max_pairs: as for :meth:`logits`, but activations are computed again only where one
                image alone has more pairs.
            shortlist: as for :meth:`logits`.

        Returns:
            The loss, a scalar with the same gradients for every `max_pairs`; and the logits [B, K]
            without a graph.
        """
        named, places = (None, None) if shortlist is None else self._named(shortlist)
        texts = self._shared_texts(text_features, named)
        n_images = len(global_features)
        pairs_per_image = len(text_features) if shortlist is None else shortlist.shape[1]

        def loss_of(rows: slice, *texts: Tensor) -> tuple[Tensor, Tensor]:
            images = global_features[rows], spatial_features[rows]
            shared = SharedTexts(*texts)
            if shortlist is None or places is None:
                logits = self._logits(shared, *images, scale, max_pairs)
            else:
                chosen = shortlist[rows], places[rows]
                logits = self._shortlist_logits(shared, *images, *chosen, scale, max_pairs)
            logits = logits if offset is None else logits + offset[rows]
            total = F.cross_entropy(logits, labels[rows], reduction="sum")
            return total / n_images, logits.detach()

        given = (text_features, global_features, spatial_features, scale, offset)
        needs_graph = any(isinstance(x, Tensor) and x.requires_grad for x in given)
        if not max_pairs or needs_graph or not (self.fast and fast_path_allowed()):
            return loss_of(slice(None), *texts)
        n_chunks = count_of_chunks(n_images, pairs_per_image, max_pairs)
        return chunked_loss(loss_of, texts, self.parameters(), n_images=n_images, n_chunks=n_chunks)

    @property
    def _decoder(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def _normalize(self, features: Tensor) -> Tensor:
        """Return features of length 1, in the type of the parameters."""
        return F.normalize(features.to(self._decoder[0].cross_norm.weight.dtype), dim=-1)

    def _shared_texts(self, text_features: Tensor, named: Tensor | None = None) -> SharedTexts:
        start = self._normalize(text_features).unsqueeze(0)
        mixed = self._decoder[0].self_attend(start, named)
        return SharedTexts(start, mixed, self._decoder[0].project_queries(mixed))

    def _named(self, shortlist: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the classes that shortlists [B, M] name [R], and their places there [B, M].

        None for all classes in the plain path, where no shape may depend on values, and on other
        devices than the CPU, which would have to be waited for to learn how many they are.
        """
        if self.fast and fast_path_allowed() and shortlist.device.type == "cpu":
            return torch.unique(shortlist, return_inverse=True)
        return None, shortlist

    def _attend(
        self, texts: SharedTexts, spatial_features: Tensor, layers: Sequence[DecoderLayer]
    ) -> tuple[Tensor, Tensor]:
        """Return what some first layers make of the texts, and the queries of the last of them.

        Returns:
            `Attend(T, F)` [B, K, D], and the queries [B or 1, K, D].
        """
        first, *others = layers
        queries = texts.queries
        x = first.cross_attend(texts.mixed, queries, spatial_features)
        for layer in others:
            mixed = layer.self_attend(x)
            queries = layer.project_queries(mixed)
            x = layer.cross_attend(mixed, queries, spatial_features)
        return x - texts.start if self.norm == "pre" else x, queries

    def _add_residual(self, start: Tensor, attended: Tensor) -> Tensor:
        """Return `T + r * Attend(T, F)`."""
        if isinstance(self.residual_ratio, Tensor):
            return torch.addcmul(start, self.residual_ratio, attended)
        return torch.add(start, attended, alpha=self.residual_ratio)

    def _guided_logits(
        self,
        texts: SharedTexts,
        global_features: Tensor,
        spatial_features: Tensor,
        scale: Tensor | float,
    ) -> Tensor:
        """Return equations (1) and (2), all pairs at once."""
        attended, _ = self._attend(texts, self._normalize(spatial_features), self._decoder)
        guided = self._add_residual(texts.start, attended)
        return visual_guided_logits(global_features, guided, scale, fast=self.fast)

    def _shortlist_logits(
        self,
        texts: SharedTexts,
        global_features: Tensor,
        spatial_features: Tensor,
        shortlist: Tensor,
        places: Tensor,
        scale: Tensor | float,
        max_pairs: int,
    ) -> Tensor:
        """Return the logits [B, K] of which those of the shortlist [B, M] are visual-guided."""

        def logits_of(
            shared: SharedTexts, g: Tensor, spatial: Tensor, chosen: Tensor, places: Tensor
        ) -> Tensor:
            own = SharedTexts(
                texts_of(shared.start, chosen),
                texts_of(shared.mixed, places),
                texts_of(shared.queries, places),
            )
            return self._guided_logits(own, g, spatial, scale)

        n_images, n_chosen = shortlist.shape
        chunks = count_of_chunks(n_images, n_chosen, max_pairs or n_images * n_chosen)
        recompute = chunks > 1 and torch.is_grad_enabled()
        run = partial(checkpoint, logits_of, use_reentrant=False) if recompute else logits_of
        images = (global_features, spatial_features, shortlist, places)
        parts = zip(*(tensor.tensor_split(chunks) for tensor in images), strict=True)
        guided = torch.cat([run(texts, *part) for part in parts])
        with autocast(global_features.device, None):
            zero_shot = cosine_logits(global_features.to(guided.dtype), texts.start[0], scale)
        return filled_in(zero_shot, shortlist, guided)

    def _logits(
        self,
        texts: SharedTexts,
        global_features: Tensor,
        spatial_features: Tensor,
        scale: Tensor | float,
        max_pairs: int,
    ) -> Tensor:
        def logits_of(texts: Sequence[Tensor], g: Tensor, spatial: Tensor) -> Tensor:
            return self._guided_logits(SharedTexts(*texts), g, spatial, scale)

        if not (self.fast and fast_path_allowed()):
            return logits_of(texts, global_features, spatial_features)
        # in later layers every class depends on the others through the self-attention
        apart = len(self.layers) == 1 or self._decoder[0].self_attention is None
        split = partial(chunked_logits, max_pairs=max_pairs, split_classes=apart)
        return split(logits_of, texts, global_features, spatial_features)
