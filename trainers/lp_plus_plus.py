"""LP++ (arXiv 2404.02285): a linear probe whose weights are blended with the texts."""

from __future__ import annotations

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.lp_plus_plus import Descent, State
from vtclip.results import Search
from vtclip.search import SEARCH, grid_search


@TRAINER_REGISTRY.register()
class LPPlusPlus(FrozenCLIPTrainer):
    """Descends on all support images at once; validation chooses the epoch."""

    OPTIONS = {
        "EPOCHS": Option(
            300, "steps of the classifier; validation chooses one", low=1, high=10_000
        ),
        "SEARCH": SEARCH,
    }
    # one augmented view per image
    PROTOCOL = {"INPUT.RRCROP_SCALE": (0.5, 1.0)}
    FITTED = {"weight": "KD", "bias": "K", "alpha": "K"}
    prompts = "imagenet"
    no_transfer_reason = "the classifier of LP++ is trained on images of its own classes."
    _found: Search | None = None

    def fit(self) -> dict[str, Tensor]:
        """Return "weight" [K, D], "bias" [K] and "alpha" [K] of the epoch of validation."""
        views, labels = self.train_views(1)
        support = F.normalize(views[0].global_features, dim=-1)
        descent = Descent(support, labels, self.text_features)
        if self.options.SEARCH:
            val, val_labels = self.features("val")
            g = F.normalize(val.global_features, dim=-1)
            self._found = grid_search(
                lambda epoch: descent.at(epoch).logits(g, self.text_features),
                val_labels,
                grid={"epoch": range(1, self.options.EPOCHS + 1)},
            )
        found = self._found.chosen if self._found else self.fixed()
        chosen = descent.at(int(found["epoch"]))
        self.trainable_parameters = sum(part.numel() for part in vars(chosen).values())
        return dict(vars(chosen))

    def logits(self, features: Features) -> Tensor:
        """Return w_k . g + b_k + a_k (t_k . g), [B, K]."""
        g = F.normalize(features.global_features, dim=-1)
        return State(**self.fitted).logits(g, self.text_features)

    def fixed(self) -> dict[str, float]:
        """Return the last epoch."""
        return {"epoch": float(self.options.EPOCHS)}

    def search(self) -> Search | None:
        """Return the search that the fit was made by."""
        return self._found
