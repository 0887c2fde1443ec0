"""The modules that are exported: features or images in, logits and probabilities out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from vtclip.backbones import Backbone
from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.layers import VisualGuidedAttention
from vtclip.layers.feed_forward import FeedForward
from vtclip.layers.multi_head import MultiHeadAttention

PIXELS = "pixels"
GLOBAL, SPATIAL = "global_features", "spatial_features"


class HeadGraph(nn.Module):
    """A method with its texts: features [B, D] and [B, S, C] to logits and probabilities [B, K].

    Products are made in fp32 along the plain path, since the hand-written functions of
    vtclip.layers are no operators of ONNX; the trainer is changed to that.

    Args:
        trainer: a restored one, on the CPU.
    """

    def __init__(self, trainer: FrozenCLIPTrainer) -> None:
        super().__init__()
        _take_plain_path(trainer)
        self.trainer = trainer
        # as a submodule its parameters get names of their own in the graph
        self.head = trainer.head

    def forward(
        self, global_features: Tensor, spatial_features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities [B, K], float32."""
        logits = self.trainer.logits(Features(global_features, spatial_features)).float()
        return logits, logits.softmax(-1)

    def examples(self, n_images: int, n_locations: int = 4) -> dict[str, Tensor]:
        """Return random inputs by name, the same at every call."""
        draw, provider = torch.Generator().manual_seed(n_images), self.trainer.provider
        made = {GLOBAL: torch.randn(n_images, provider.embed_dim, generator=draw)}
        kind = self.trainer.tokens()
        if kind is not None:
            width = provider.embed_dim if kind == "joint" else provider.backbone_dim
            made[SPATIAL] = torch.randn(n_images, n_locations, width, generator=draw)
        return made


class ImageGraph(nn.Module):
    """A backbone before a :class:`HeadGraph`: normalised images [B, 3, H, W] in."""

    def __init__(self, backbone: Backbone, head: HeadGraph) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities [B, K], float32."""
        found = self.backbone.encode_image(pixels, self.head.trainer.tokens())
        logits, probabilities = self.head(found.global_features, found.spatial_features)
        return logits, probabilities

    def examples(self, n_images: int) -> dict[str, Tensor]:
        """Return random inputs by name, the same at every call."""
        draw, side = torch.Generator().manual_seed(n_images), self.backbone.image_size
        return {PIXELS: torch.randn(n_images, 3, side, side, generator=draw)}


def _take_plain_path(trainer: FrozenCLIPTrainer) -> None:
    if "PREC" in trainer.options:
        trainer.options = CfgNode({**trainer.options, "PREC": "fp32"})
    if trainer.head is None:
        return
    trainer.head.requires_grad_(False)
    for module in trainer.head.modules():
        if isinstance(module, VisualGuidedAttention | MultiHeadAttention | FeedForward):
            module.fast = False
