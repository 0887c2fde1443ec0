"""GDA-CLIP (arXiv 2402.04087): zero-shot CLIP plus a Gaussian discriminant in closed form."""

from __future__ import annotations

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.gda import discriminant
from vtclip.methods.zero_shot import cosine_logits
from vtclip.results import Search
from vtclip.search import SEARCH, grid_search

# the authors' seven, and where they start (main_few_shots.py of mrflogs/ICLR24)
ALPHAS = [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0]
FIRST_ALPHA = 0.1


@TRAINER_REGISTRY.register()
class GDA(FrozenCLIPTrainer):
    """Fits once; validation chooses the weight alpha beside zero-shot CLIP."""

    OPTIONS = {
        "AUGMENT_EPOCHS": Option(10, "augmented views, each a sample", low=1, high=1000),
        "SEARCH": SEARCH,
    }
    FITTED = {"weight": "KD", "bias": "K"}
    PROTOCOL = {"INPUT.RRCROP_SCALE": (0.5, 1.0)}
    prompts = "imagenet"
    no_transfer_reason = "the Gaussians of GDA-CLIP are those of its own classes."

    def fit(self) -> dict[str, Tensor]:
        """Return "weight" [K, D] and "bias" [K] of the discriminant."""
        views, labels = self.train_views(self.options.AUGMENT_EPOCHS)
        support = torch.cat([F.normalize(view.global_features, dim=-1) for view in views])
        weight, bias = discriminant(support, labels.repeat(len(views)), len(self.text_features))
        return {"weight": weight, "bias": bias}

    def logits(self, features: Features) -> Tensor:
        """Return s g T' + alpha (g W' + b), [B, K]."""
        zero_shot, gaussian = self._parts(features)
        return zero_shot + self.chosen("alpha") * gaussian

    def fixed(self) -> dict[str, float]:
        """Return the authors' alpha before their search."""
        return {"alpha": FIRST_ALPHA}

    def search(self) -> Search:
        """Choose alpha."""
        features, labels = self.features("val")
        zero_shot, gaussian = self._parts(features)
        return grid_search(
            lambda alpha: zero_shot + alpha * gaussian,
            labels,
            grid={"alpha": ALPHAS},
            reference=zero_shot,
        )

    def _parts(self, features: Features) -> tuple[Tensor, Tensor]:
        g = F.normalize(features.global_features, dim=-1)
        gaussian = F.linear(g, self.fitted["weight"], self.fitted["bias"])
        return cosine_logits(g, self.text_features, self.scale), gaussian
