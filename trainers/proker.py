"""ProKeR (Bendou et al., CVPR 2025): zero-shot CLIP plus a kernel correction in closed form."""

from __future__ import annotations

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.proker import correction, fixed_kernel, kernel, residuals
from vtclip.methods.tip_adapter import build_keys
from vtclip.methods.zero_shot import cosine_logits
from vtclip.results import Search
from vtclip.search import SEARCH, geometric, grid_search

# the published ranges, at even steps of the logarithm; how many steps they had is not known here
BETAS = geometric(0.1, 20.0, 12)
LAMBDAS = geometric(0.001, 10.0, 13)


def search_kernel(
    g: Tensor,
    labels: Tensor,
    support: Tensor,
    residual: Tensor,
    *,
    text_features: Tensor,
    scale: float,
) -> Search:
    """Choose beta and lam on validation images.

    Args:
        g: [V, D] of the V validation images, normalised.
        labels: [V], int64, theirs.
        support: G [N, D], normalised.
        residual: R [N, K].
        text_features: T [K, D], normalised.
        scale: s, CLIP's exponentiated logit scale.
    """
    zero_shot = g @ text_features.T
    return grid_search(
        lambda beta, lam: (
            scale
            * (zero_shot + kernel(g, support, beta) @ correction(support, residual, beta, lam))
        ),
        labels,
        grid={"beta": BETAS, "lam": LAMBDAS},
        reference=scale * zero_shot,
    )


@TRAINER_REGISTRY.register()
class ProKeR(FrozenCLIPTrainer):
    """Solved once for each value of beta and lam; validation chooses."""

    # how the views are drawn is assumed to be as in Tip-Adapter
    OPTIONS = {
        "AUGMENT_EPOCHS": Option(10, "augmented views that are averaged", low=1, high=1000),
        "SEARCH": SEARCH,
    }
    FITTED = {"support": "ND", "correction": "NK", "beta": ""}
    PROTOCOL = {"INPUT.RRCROP_SCALE": (0.5, 1.0)}
    no_transfer_reason = "the kernel of ProKeR holds images of its own classes alone."
    kernel_search: Search | None = None

    def fit(self) -> dict[str, Tensor]:
        """Return "support" [N, D] and "correction" [N, K] at the lam and "beta" of validation."""
        views, labels = self.train_views(self.options.AUGMENT_EPOCHS)
        support = build_keys([view.global_features for view in views])
        residual = residuals(support, labels, self.text_features)
        if self.options.SEARCH:
            val, val_labels = self.features("val")
            g = F.normalize(val.global_features, dim=-1)
            self.kernel_search = search_kernel(
                *(g, val_labels, support, residual),
                text_features=self.text_features,
                scale=self.scale,
            )
        found = self.kernel()
        solved = correction(support, residual, **found)
        return {"support": support, "correction": solved, "beta": torch.tensor(found["beta"])}

    def kernel(self) -> dict[str, float]:
        """Return the "beta" and "lam" that validation chose, else the authors' fixed ones."""
        if self.kernel_search is not None:
            return self.kernel_search.chosen
        return ProKeR.fixed(self)

    def fixed(self) -> dict[str, float]:
        """Return the authors' beta and lam for so many images per class."""
        return dict(zip(("beta", "lam"), fixed_kernel(self.images_per_class()), strict=True))

    def logits(self, features: Features) -> Tensor:
        """Return s (g T' + k(g, G) A), [B, K]."""
        zero_shot = cosine_logits(features.global_features, self.text_features, self.scale)
        return zero_shot + self.correction_logits(features)

    def correction_logits(self, features: Features) -> Tensor:
        """Return s k(g, G) A, [B, K]."""
        g = F.normalize(features.global_features, dim=-1)
        similar = kernel(g, self.fitted["support"], self.fitted["beta"])
        return self.scale * similar @ self.fitted["correction"]

    def search(self) -> Search | None:
        """Return the search that the fit was made by."""
        return self.kernel_search
