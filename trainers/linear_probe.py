"""Linear probe (CLIP, arXiv 2103.00020): logistic regression on global features."""

from __future__ import annotations

from functools import lru_cache

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.linear_probe import fit
from vtclip.results import Search
from vtclip.search import geometric, grid_search

C_VALUES = geometric(0.1, 1e5, 13)


@TRAINER_REGISTRY.register()
class LinearProbe(FrozenCLIPTrainer):
    """Fits by L-BFGS, once for every C, and keeps the fit that is best on validation."""

    FITTED = {"weight": "KD", "bias": "K"}
    _found: Search | None = None
    no_transfer_reason = "a linear probe has no texts, so no classes but its own."

    def fit(self) -> dict[str, Tensor]:
        """Return "weight" [K, D] and "bias" [K] of the C that validation chooses."""
        train, labels = self.features("train")
        val, val_labels = self.features("val")
        normalised = F.normalize(val.global_features, dim=-1)
        fits = lru_cache(maxsize=None)(
            lambda C: [part.to(self.device) for part in fit(train.global_features, labels, C)]
        )
        self._found = grid_search(
            lambda C: F.linear(normalised, *fits(C)), val_labels, grid={"C": C_VALUES}
        )
        weight, bias = fits(self._found.chosen["C"])
        self.trainable_parameters = weight.numel() + bias.numel()
        return {"weight": weight, "bias": bias}

    def logits(self, features: Features) -> Tensor:
        """Return the logits [B, K] of the normalised global features."""
        g = F.normalize(features.global_features, dim=-1)
        return F.linear(g, self.fitted["weight"], self.fitted["bias"])

    def search(self) -> Search | None:
        """Return the search of C that the fit was made by."""
        return self._found
