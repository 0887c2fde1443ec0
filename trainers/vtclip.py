"""VT-CLIP: texts guided by the image through cross-attention (arXiv 2112.02399)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from vtclip.backbones import VisualTokens
from vtclip.engine import FrozenCLIPTrainer, StrPath
from vtclip.errors import UserError
from vtclip.features import Features
from vtclip.layers import VisualGuidedAttention
from vtclip.methods.zero_shot import cosine_logits
from vtclip.precision import autocast, bf16_is_fast
from vtclip.results import Search
from vtclip.search import grid_search

WEIGHTS = [step / 20 for step in range(21)]


@TRAINER_REGISTRY.register()
class VTCLIP(FrozenCLIPTrainer):
    """Trains visual-guided attention; its switches are TRAINER.VTCLIP, see docs/method.md."""

    head: VisualGuidedAttention

    def tokens(self) -> VisualTokens:
        """Return the kind of spatial features, TRAINER.VTCLIP.VISUAL_TOKENS."""
        tokens: VisualTokens = self.cfg.TRAINER.VTCLIP.VISUAL_TOKENS
        return tokens

    def prompt_kind(self) -> str:
        """Return TRAINER.VTCLIP.PROMPT."""
        return str(self.cfg.TRAINER.VTCLIP.PROMPT)

    def build_head(self) -> VisualGuidedAttention:
        """Return the attention module at the width of the backbone.

        Raises:
            UserError: the heads do not divide the width, or the global features, of the joint
                space, are to stand among raw spatial ones.
        """
        options, dim = self.cfg.TRAINER.VTCLIP, self.supply.embed_dim
        if dim % options.N_HEADS:
            raise UserError(
                f"TRAINER.VTCLIP.N_HEADS: {options.N_HEADS} does not divide {dim}, the width of "
                f"backbone {self.supply.backbone_name}."
            )
        if options.INCLUDE_GLOBAL and self.tokens() == "backbone":
            raise UserError(
                "TRAINER.VTCLIP.INCLUDE_GLOBAL: needs VISUAL_TOKENS joint, the space of the "
                "global features."
            )
        return VisualGuidedAttention(
            dim,
            dim if self.tokens() == "joint" else self.supply.backbone_dim,
            num_layers=options.N_LAYERS,
            num_heads=options.N_HEADS,
            self_attention=options.SELF_ATTENTION,
            ffn_ratio=options.FFN_RATIO if options.FFN else 0.0,
            norm=options.NORM,
            dropout=options.DROPOUT,
            zero_init=options.ZERO_INIT,
            residual_ratio=options.RESIDUAL_RATIO,
            residual_learnt=options.RESIDUAL_LEARNT,
        )

    def logits(self, features: Features) -> Tensor:
        """Match images with their visual-guided texts, blended with zero-shot CLIP's logits."""
        weight, guided = self._clip_weight(), self.guided_logits(features)
        return torch.lerp(guided, self.zero_shot_logits(features), weight) if weight else guided

    def loss(self, features: Features, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of :meth:`logits` and them, at the peak of MAX_PAIRS."""
        weight = self._clip_weight()
        offset = weight * self.zero_shot_logits(features) if weight else None
        with self._precision():
            return self.head.cross_entropy(
                self.text_features,
                *self._tokens(features),
                label,
                self.scale * (1 - weight),
                offset=offset,
                max_pairs=self.cfg.TRAINER.VTCLIP.MAX_PAIRS,
            )

    def search(self) -> Search | None:
        """Choose the weight on CLIP's own logits, where TRAINER.VTCLIP.SEARCH_WEIGHT is True."""
        if not self.cfg.TRAINER.VTCLIP.SEARCH_WEIGHT:
            return None
        guided, labels = self.scores("val", self.guided_logits)
        zero_shot, _ = self.scores("val", self.zero_shot_logits)
        return grid_search(
            lambda clip_logit_weight: torch.lerp(guided, zero_shot, clip_logit_weight),
            labels,
            grid={"clip_logit_weight": WEIGHTS},
        )

    def load_model(self, directory: StrPath, epoch: int | None = None) -> None:
        """Load the attention module; see the base class."""
        super().load_model(directory, epoch)
        if self.cfg.TRAINER.TRANSFER and self.cfg.TRAINER.VTCLIP.SELF_ATTENTION:
            print(
                "TRAINER.VTCLIP.SELF_ATTENTION True: the texts attend to each other, so to a new "
                "class list; results depend on which classes are in it."
            )

    def zero_shot_logits(self, features: Features) -> Tensor:
        """Return zero-shot CLIP's logits [B, K]."""
        return cosine_logits(features.global_features, self.text_features, self.scale)

    def guided_logits(self, features: Features) -> Tensor:
        """Return the logits [B, K] of the visual-guided texts alone."""
        with self._precision():
            return self.head.logits(
                self.text_features,
                *self._tokens(features),
                self.scale,
                max_pairs=self.cfg.TRAINER.VTCLIP.MAX_PAIRS,
            )

    def _tokens(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return global features and what the texts look at."""
        global_features, spatial_features = features
        assert spatial_features is not None  # tokens() asked for them
        if self.cfg.TRAINER.VTCLIP.INCLUDE_GLOBAL:
            spatial_features = torch.cat([global_features.unsqueeze(1), spatial_features], dim=1)
        return global_features, spatial_features

    def _clip_weight(self) -> float:
        """Return the weight on zero-shot CLIP's logits: as chosen, else as configured."""
        return float(
            self.chosen.get("clip_logit_weight", self.cfg.TRAINER.VTCLIP.CLIP_LOGIT_WEIGHT)
        )

    def _precision(self) -> AbstractContextManager[Any]:
        """Return the arithmetic of the attention's products, TRAINER.VTCLIP.PREC."""
        wanted = self.cfg.TRAINER.VTCLIP.PREC
        amp = wanted == "amp" or (wanted == "auto" and bf16_is_fast(self.device))
        return autocast(self.device, torch.bfloat16 if amp else None)
