"""Linear probe (CLIP, arXiv 2103.00020): logistic regression on global features."""

from __future__ import annotations

from functools import lru_cache

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.linear_probe import fit
from vtclip.results import Search
from vtclip.search import geometric, grid_search

C_VALUES = geometric(0.1, 1e5, 13)


@TRAINER_REGISTRY.register()
class LinearProbe(FrozenCLIPTrainer):
    """Fits by L-BFGS, not by the OPTIM node: its one epoch is the fit of every C."""

    other_classes = "a linear probe knows no texts, so no classes but its own."
    head: nn.Linear

    def build_head(self) -> nn.Linear:
        """Return the layer that holds the fitted weights, zero before."""
        self.max_epoch = 1
        self.fitted: Search | None = None
        head = nn.Linear(self.provider.embed_dim, len(self.classnames))
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
        return head

    def run_epoch(self) -> None:
        """Fit each C on the training images and keep the one that is best on validation."""
        train, labels = self.features("train")
        features, val_labels = self.features("val")
        g, val = train.global_features, F.normalize(features.global_features, dim=-1)
        fits = lru_cache(maxsize=None)(
            lambda C: [part.to(self.device) for part in fit(g, labels, C)]
        )
        self.fitted = grid_search(
            lambda C: F.linear(val, *fits(C)), val_labels, grid={"C": C_VALUES}
        )
        weight, bias = fits(self.fitted.chosen["C"])
        self.head.load_state_dict({"weight": weight, "bias": bias})

    def logits(self, features: Features) -> Tensor:
        """Return the logits [B, K] of the normalised global features."""
        return self.head(F.normalize(features.global_features, dim=-1))

    def search(self) -> Search | None:
        """Return the search of C that the fit was made by."""
        return self.fitted
