"""Zero-shot CLIP (arXiv 2103.00020): nothing is trained, nothing is searched."""

from __future__ import annotations

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.zero_shot import cosine_logits


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(FrozenCLIPTrainer):
    """`s * g . T` with the dataset's own template."""

    uses_shots = False
    transfers = True

    def logits(self, features: Features) -> Tensor:
        """Return `s * g . T`, [B, K]."""
        return cosine_logits(features.global_features, self.text_features, self.scale)


@TRAINER_REGISTRY.register()
class ZeroshotCLIP2(ZeroshotCLIP):
    """Zero-shot CLIP on an ensemble of prompts."""

    prompts = "ensemble"
