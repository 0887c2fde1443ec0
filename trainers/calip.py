"""CALIP (arXiv 2209.14169): parameter-free attention between texts and locations."""

from __future__ import annotations

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from vtclip.backbones import VisualTokens
from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.calip import Similarities, calip_logits, similarities
from vtclip.results import Search
from vtclip.search import geometric, grid_search

# 0 leaves a part out
WEIGHTS = [0.0, *geometric(0.001, 10.0, 25)]


@TRAINER_REGISTRY.register()
class CALIP(FrozenCLIPTrainer):
    """Training-free; the weights b2 and b3 of both directions of attention are searched."""

    prompts = "imagenet"
    transfers = True

    def tokens(self) -> VisualTokens:
        """Return "joint": locations are compared with texts."""
        return "joint"

    def logits(self, features: Features) -> Tensor:
        """Return the logits [B, K] at the chosen b2 and b3, before a choice zero-shot CLIP's."""
        parts = self.compare(features)
        return calip_logits(parts, self.scale, self.chosen("b2"), self.chosen("b3"))

    def fixed(self) -> dict[str, float]:
        """Return the weights of zero-shot CLIP."""
        return {"b2": 0.0, "b3": 0.0}

    def compare(self, features: Features) -> Similarities:
        """Return the parts of the logits, each [B, K]."""
        assert features.spatial_features is not None  # tokens() names them
        return similarities(features.global_features, features.spatial_features, self.text_features)

    def search(self) -> Search:
        """Choose b2 and b3."""
        parts, labels = self.scores("val", lambda f: torch.stack(self.compare(f), dim=1))
        found = Similarities(*parts.unbind(dim=1))
        return grid_search(
            lambda b2, b3: calip_logits(found, self.scale, b2, b3),
            labels,
            grid={"b2": WEIGHTS, "b3": WEIGHTS},
            reference=self.scale * found.plain,
        )
