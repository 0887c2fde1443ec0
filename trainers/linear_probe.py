"""Linear probe (CLIP, arXiv 2103.00020): logistic regression on global features."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.linear_probe import bisect_strength, fit
from vtclip.results import Search
from vtclip.search import SEARCH


@TRAINER_REGISTRY.register()
class LinearProbe(FrozenCLIPTrainer):
    """Fits by L-BFGS, once for every C, and keeps the fit that CoOp's search ends at."""

    OPTIONS = {
        "C": Option(
            0.316,
            "inverse strength of the penalty where SEARCH is False: that of CLIP's own example",
            above=0,
        ),
        "SEARCH": SEARCH,
    }
    FITTED = {"weight": "KD:float64", "bias": "K:float64"}
    _found: Search | None = None
    no_transfer_reason = "a linear probe has no texts, so no classes but its own."

    def fit(self) -> dict[str, Tensor]:
        """Return "weight" [K, D] and "bias" [K], float64, of the C that validation chooses."""
        train, labels = self.features("train")

        @cache
        def fits(C: float) -> list[Tensor]:
            return [part.to(self.device) for part in fit(train.global_features, labels, C)]

        if self.options.SEARCH:
            self._found = self._choose(fits)
        found = self._found.chosen if self._found else self.fixed()
        weight, bias = fits(found["C"])
        self.trainable_parameters = weight.numel() + bias.numel()
        return {"weight": weight, "bias": bias}

    def _choose(self, fits: Callable[[float], list[Tensor]]) -> Search:
        val, val_labels = self.features("val")
        val_features = val.global_features.double()

        def accuracy(C: float) -> float:
            correct = F.linear(val_features, *fits(C)).argmax(dim=1) == val_labels
            return 100.0 * int(correct.sum()) / len(val_labels)

        found = bisect_strength(accuracy)
        tried = [accuracy(C) for C in found.tried]
        return Search(
            split="val",
            grid={"C": found.tried},
            chosen={"C": found.chosen},
            accuracy=found.accuracy,
            tied=tried.count(max(tried)),
        )

    def logits(self, features: Features) -> Tensor:
        """Return the logits [B, K] of the global features as they are, float64."""
        g = features.global_features.double()
        return F.linear(g, self.fitted["weight"], self.fitted["bias"])

    def fixed(self) -> dict[str, float]:
        """Return C."""
        return {"C": float(self.options.C)}

    def search(self) -> Search | None:
        """Return the search of C that the fit was made by."""
        return self._found
