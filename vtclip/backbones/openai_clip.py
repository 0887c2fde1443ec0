"""OpenAI's CLIP (arXiv 2103.00020) through the `clip` package, with spatial features.

The joint-space spatial features of a ResNet are the outputs of its attention pooling with every
location as a query; those of a ViT are the patch tokens after `ln_post` and the projection. The
text encoder runs at the length of the longest prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vtclip.backbones.base import (
    PromptLearningBackbone,
    TokenizedPrompts,
    VisualTokens,
    fingerprint_of,
)
from vtclip.backbones.clip_layout import empty_clip
from vtclip.backbones.clip_package import tokenize
from vtclip.backbones.folding import fold_batch_norms
from vtclip.errors import UserError
from vtclip.image_features import Features


class AttentionPool(nn.Module):
    """CLIP's attention pooling, with each location as a query instead of the mean alone."""

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self.positional_embedding: nn.Parameter = pool.positional_embedding
        self.num_heads: int = pool.num_heads
        self.q_proj, self.k_proj, self.v_proj = pool.q_proj, pool.k_proj, pool.v_proj
        self.c_proj = pool.c_proj

    def forward(self, feature_map: Tensor, *, every_location: bool) -> Tensor:
        """Pool a feature map.

        Args:
            feature_map: [B, C, H, W] at the resolution of the positional embedding.
            every_location: whether each location is a query too.

        Returns:
            [B, 1 (+ H * W), D], global features first, locations in row-major order after.
        """
        x = feature_map.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], dim=1) + self.positional_embedding
        queries = x if every_location else x[:, :1]
        q, k, v = (
            projection(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection, tokens in ((self.q_proj, queries), (self.k_proj, x), (self.v_proj, x))
        )
        pooled = F.scaled_dot_product_attention(q, k, v)
        return self.c_proj(pooled.transpose(1, 2).flatten(2))


class ResNetEncoder(nn.Module):
    """The image encoder of RN50, RN101, RN50x4, RN50x16 and RN50x64."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        pool = visual.attnpool
        self.pool = AttentionPool(pool)
        self.backbone_dim: int = pool.k_proj.in_features
        visual.attnpool = nn.Identity()
        fold_batch_norms(visual)
        self.trunk = visual

    def forward(self, images: Tensor, tokens: VisualTokens | None) -> Features:
        """See :meth:`Backbone.encode_image`."""
        feature_map = self.trunk(images)
        pooled = self.pool(feature_map, every_location=tokens == "joint")
        if tokens == "joint":
            return Features(pooled[:, 0], pooled[:, 1:])
        spatial = feature_map.flatten(2).transpose(1, 2) if tokens == "backbone" else None
        return Features(pooled[:, 0], spatial)


class ViTEncoder(nn.Module):
    """The image encoder of ViT-B/32, ViT-B/16, ViT-L/14 and ViT-L/14@336px."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual: Any = visual
        self.backbone_dim: int = visual.proj.shape[0]

    def forward(self, images: Tensor, tokens: VisualTokens | None) -> Features:
        """See :meth:`Backbone.encode_image`."""
        visual = self.visual
        patches = visual.conv1(images).flatten(2).transpose(1, 2)
        first = visual.class_embedding.expand(images.shape[0], 1, -1).to(patches.dtype)
        x = torch.cat([first, patches], dim=1) + visual.positional_embedding
        x = run_blocks(visual.transformer, visual.ln_pre(x), None)
        if tokens is None:
            x = x[:, :1]
        x = visual.ln_post(x)
        if tokens == "joint":
            x = x @ visual.proj
            return Features(x[:, 0], x[:, 1:])
        spatial = x[:, 1:] if tokens == "backbone" else None
        return Features(x[:, 0] @ visual.proj, spatial)


def run_blocks(transformer: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    """Run CLIP's residual attention blocks on [B, N, W] with an additive mask [N, N]."""
    x = x.transpose(0, 1)
    for block in transformer.resblocks:
        h = block.ln_1(x)
        x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
        x = x + block.mlp(block.ln_2(x))
    return x.transpose(0, 1)


def use_gelu(transformer: Any) -> None:
    """Put GELU in the place of QuickGELU, x sigmoid(1.702 x), in each block."""
    for block in transformer.resblocks:
        block.mlp.gelu = nn.GELU()


class OpenAIBackbone(PromptLearningBackbone):
    """A CLIP of OpenAI's layout, in fp32.

    Args:
        name: what it is called in results.
        state_dict: the weights, under OpenAI's names.
        activation: of the transformers: "quick_gelu", as OpenAI's models have it, or "gelu".
        source: the file of the weights, for messages; the name where there is none.

    Raises:
        UserError: the weights are not those of a CLIP of this layout.
    """

    def __init__(
        self,
        name: str,
        state_dict: dict[str, Tensor],
        activation: Literal["quick_gelu", "gelu"] = "quick_gelu",
        source: str = "",
    ) -> None:
        super().__init__()
        self.name = name
        model = empty_clip(state_dict, source or name).float().to_empty(device="cpu")
        model.load_state_dict(state_dict)
        self.fingerprint = fingerprint_of(state_dict)
        if activation == "gelu":
            # hashed anew: tables compare the first digits alone
            self.fingerprint = hashlib.sha256(f"{self.fingerprint} gelu".encode()).hexdigest()
            use_gelu(model.transformer)
            if not hasattr(model.visual, "attnpool"):
                use_gelu(model.visual.transformer)
        self.embed_dim = model.text_projection.shape[1]
        self.image_size = model.visual.input_resolution
        is_resnet = hasattr(model.visual, "attnpool")
        self.visual = ResNetEncoder(model.visual) if is_resnet else ViTEncoder(model.visual)
        self.backbone_dim = self.visual.backbone_dim
        self.transformer = model.transformer
        self.token_embedding = model.token_embedding
        self.positional_embedding = model.positional_embedding
        self.ln_final = model.ln_final
        self.text_projection = model.text_projection
        self.log_logit_scale = model.logit_scale
        self.context_length: int = model.context_length

    @property
    def logit_scale(self) -> Tensor:
        """Scale of the cosine, exponentiated."""
        return self.log_logit_scale.exp()

    def encode_image(self, images: Tensor, tokens: VisualTokens | None = "joint") -> Features:
        """Encode images [B, 3, image_size, image_size]; see :class:`Backbone`."""
        return self.visual(images, tokens)

    def tokenize(self, prompts: Sequence[str]) -> TokenizedPrompts:
        """Turn prompts into token ids, cut to the longest; see :class:`Backbone`."""
        rows = []
        for prompt in prompts:
            try:
                rows.append(tokenize(prompt, context_length=self.context_length)[0].long())
            except RuntimeError:
                raise UserError(
                    f"prompt {prompt!r}: longer than the {self.context_length} tokens of "
                    f"{self.name}; shorten the class name or DATASET.TEMPLATE."
                ) from None
        ids = torch.stack(rows)
        # the end-of-text token has the highest id of the vocabulary
        ends = ids.argmax(dim=1)
        return TokenizedPrompts(ids[:, : int(ends.max()) + 1], ends)

    def embed(self, ids: Tensor) -> Tensor:
        """Look up token embeddings; see :class:`Backbone`."""
        return self.token_embedding(ids)

    def encode_embeddings(self, embeddings: Tensor, ends: Tensor) -> Tensor:
        """Encode prompts given as token embeddings; see :class:`Backbone`."""
        length = embeddings.shape[1]
        causal = torch.full((length, length), float("-inf"), device=embeddings.device).triu(1)
        x = embeddings + self.positional_embedding[:length]
        x = self.ln_final(run_blocks(self.transformer, x, causal))
        return x[torch.arange(len(x), device=x.device), ends] @ self.text_projection
