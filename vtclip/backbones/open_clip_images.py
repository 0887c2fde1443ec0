"""The image encoders of open_clip, with the features of single locations.

One pass gives both. Of a location the joint features are those that the pooling and the projection
would make of an image with nothing else in it: for a class token or a mean that is the layer norm
and the projection alone, as with OpenAI's ViTs. Pooling by attention has learned queries over all
locations instead of such a projection.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vtclip.backbones.base import VisualTokens
from vtclip.backbones.openai_clip import ResNetEncoder
from vtclip.image_features import Features

BOTH: tuple[VisualTokens, ...] = ("joint", "backbone")
BEFORE: tuple[VisualTokens, ...] = ("backbone",)


class OpenClipViT(nn.Module):
    """open_clip's own VisionTransformer.

    Attributes:
        token_kinds: see :class:`vtclip.backbones.Backbone`.
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual: Any = visual
        # CoCa: the layer norm is of what was pooled
        self.pools_by_attention = visual.attn_pool is not None
        self.token_kinds = BEFORE if self.pools_by_attention else BOTH

    def forward(self, images: Tensor, tokens: VisualTokens | None) -> Features:
        """See :meth:`Backbone.encode_image`."""
        # 1: the last block alone
        found = self.visual.forward_intermediates(images, indices=1, output_fmt="NLC")
        pooled = found["image_features"]
        if tokens is None:
            return Features(pooled)
        (spatial,) = found["image_intermediates"]
        if not self.pools_by_attention:
            spatial = self.visual.ln_post(spatial)
        return Features(pooled, spatial @ self.visual.proj if tokens == "joint" else spatial)


class TimmEncoder(nn.Module):
    """A model of timm with open_clip's head.

    Attributes:
        token_kinds: see :class:`vtclip.backbones.Backbone`.
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.trunk, self.head = visual.trunk, visual.head
        self.prefix: int = getattr(self.trunk, "num_prefix_tokens", 0)
        self.channels_last: bool = getattr(self.trunk, "output_fmt", "NCHW") == "NHWC"
        by_attention = getattr(self.trunk, "attn_pool", None) is not None or "pool" in dict(
            self.head.named_children()
        )
        self.token_kinds = BEFORE if by_attention else BOTH

    def forward(self, images: Tensor, tokens: VisualTokens | None) -> Features:
        """See :meth:`Backbone.encode_image`."""
        found = self.trunk.forward_features(images)
        pooled = self._pool(found)
        if tokens is None:
            return Features(pooled)
        if found.dim() == 3:
            spatial = found[:, self.prefix :]
        else:
            spatial = found.flatten(1, 2) if self.channels_last else found.flatten(2).mT
        return Features(
            pooled, self._pool_each(spatial, found.dim()) if tokens == "joint" else spatial
        )

    def _pool(self, found: Tensor) -> Tensor:
        return self.head(self.trunk.forward_head(found))

    def _pool_each(self, spatial: Tensor, n_dimensions: int) -> Tensor:
        """Pool each location [B, S, C] as if it were alone; [B, S, D]."""
        alone = spatial.flatten(0, 1)
        if n_dimensions == 3:
            # whichever token is taken, or if their mean is
            alone = alone.unsqueeze(1).expand(-1, self.prefix + 1, -1)
        else:
            alone = alone[:, None, None] if self.channels_last else alone[:, :, None, None]
        return self._pool(alone).unflatten(0, spatial.shape[:2])


def image_encoder(visual: Any) -> ResNetEncoder | OpenClipViT | TimmEncoder | None:
    """Return the encoder of an image tower, None where it is of no kind that is known here."""
    kind = type(visual).__name__
    if kind == "ModifiedResNet":
        return ResNetEncoder(visual)
    if kind == "VisionTransformer":
        return OpenClipViT(visual)
    return TimmEncoder(visual) if kind == "TimmModel" else None
