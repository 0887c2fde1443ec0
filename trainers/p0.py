"""P0, task-text coordinates (2026): a map of the global features into the span of the texts."""

from __future__ import annotations

from dataclasses import replace

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.rla import MapTrainer
from vtclip.config import Option
from vtclip.features import Features
from vtclip.methods.p0 import CandidateMaps, text_basis
from vtclip.methods.zero_shot import cosine_logits
from vtclip.results import Search
from vtclip.search import grid_search


def candidates(images_per_class: float) -> list[tuple[float, float]]:
    """Return the authors' nine settings, as parts of OPTIM.LR and values of lam.

    They stand in the order in which the authors prefer them at equal accuracy.

    >>> candidates(4)[:3]
    [(1.0, 0.25), (0.1, 0.25), (1.0, 100.0)]
    """
    by_shots = 1 / images_per_class
    others = [(1.0, lam) for lam in (100.0, 10.0, 1.0, 0.1, 0.01, 0.0)]
    return [(1.0, by_shots), (0.1, by_shots), *others, (10.0, by_shots)]


@TRAINER_REGISTRY.register()
class P0(MapTrainer):
    """Trains a map per candidate side by side; validation chooses one."""

    OPTIONS = {
        "SEARCH": Option(True, "choose among nine settings on validation; False: take the first"),
    }
    PROTOCOL = {**MapTrainer.PROTOCOL, "OPTIM.LR": 1e-3, "FEATURES.VIEWS": 32}
    no_transfer_reason = "the coordinates of P0 are those of the texts of its own classes."
    head: CandidateMaps

    def candidates(self) -> list[tuple[float, float]]:
        """Return the settings to train: parts of OPTIM.LR, and lam."""
        found = candidates(self.images_per_class())
        return found if self.options.SEARCH else found[:1]

    def build_head(self) -> CandidateMaps:
        """Return a map per candidate."""
        return CandidateMaps(text_basis(self.text_features), 9 if self.options.SEARCH else 1)

    def build_optimizer(self, head: nn.Module) -> torch.optim.Optimizer:
        """Return Adam, with a rate per candidate."""
        assert isinstance(head, CandidateMaps)
        rates = [part * self.cfg.OPTIM.LR for part, _ in self.candidates()]
        pairs = zip(head.weights, rates, strict=True)
        return self.adam([{"params": [weight], "lr": rate} for weight, rate in pairs])

    def logits(self, features: Features) -> Tensor:
        """Return s cos(g + g A Q', T), [B, K], of the chosen candidate, else the first."""
        return self._match(features, int(self.chosen("candidate")))

    def loss(self, features: Features, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum over candidates of cross-entropy + lam |A|_F^2; logits of the first."""
        scores = [self._match(features, i) for i in range(len(self.head.weights))]
        total = scores[0].new_zeros(())
        for (_, lam), weight, logits in zip(
            self.candidates(), self.head.weights, scores, strict=True
        ):
            total = total + F.cross_entropy(logits, label) + lam * weight.square().sum()
        return total, scores[0]

    def fixed(self) -> dict[str, float]:
        """Return the place of the first candidate, the authors' without validation."""
        return {"candidate": 0.0}

    def search(self) -> Search:
        """Choose a candidate; its "rate" and "lam" stand at its place in their lists."""
        features, labels = self.features("val")
        parts, lams = zip(*self.candidates(), strict=True)
        found = grid_search(
            lambda candidate: self._match(features, candidate),
            labels,
            grid={"candidate": range(len(parts))},
        )
        tried = {"rate": [part * self.cfg.OPTIM.LR for part in parts], "lam": list(lams)}
        chosen = int(found.chosen["candidate"])
        return replace(
            found,
            grid={**found.grid, **tried},
            chosen={**found.chosen, **{name: values[chosen] for name, values in tried.items()}},
        )

    def _match(self, features: Features, candidate: int) -> Tensor:
        z = self.head(features.global_features, candidate)
        return cosine_logits(z, self.text_features, self.scale)
