"""VT-CLIP with ProKeR's kernel correction beside its texts; docs/successor.md measures it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from trainers.proker import search_kernel
from trainers.vtclip import VTCLIP
from vtclip.config import Option
from vtclip.features import Features
from vtclip.methods.proker import correction, held_out, kernel, residuals
from vtclip.methods.tip_adapter import build_keys
from vtclip.results import Search
from vtclip.search import grid_search

# w, of the correction; 0 is VT-CLIP
WEIGHTS = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0]
# u, of the visual-guided texts beside the texts; 0 is ProKeR
GUIDES = [0.0, 0.25, 0.5, 0.75, 1.0]
# before validation chooses
FIRST_WEIGHT, FIRST_GUIDE = 1.0, 1.0
NOT_OF_PLUS = ("CLIP_LOGIT_WEIGHT", "SEARCH_WEIGHT")


@TRAINER_REGISTRY.register()
class VTCLIPPlus(VTCLIP):
    """Trains the attention, solves the correction once; validation weighs them."""

    OPTIONS = {
        **{name: option for name, option in VTCLIP.OPTIONS.items() if name not in NOT_OF_PLUS},
        "AUGMENT_EPOCHS": Option(10, "augmented views that are averaged", low=1, high=1000),
        "TRAIN_BESIDE": Option(
            "nothing",
            "the attention is trained beside no correction (as VT-CLIP), the one that leaves the "
            "image itself out, or the one that is fitted to it",
            choices=("nothing", "left_out", "fitted"),
        ),
        "SEARCH_GUIDE": Option(False, "choose the weight of the visual-guided texts, too"),
    }
    FITTED = {"support": "ND", "correction": "NK", "beta": ""}
    PROTOCOL = {**VTCLIP.PROTOCOL, "INPUT.RRCROP_SCALE": (0.5, 1.0)}
    transfers = False
    no_transfer_reason = "the kernel of VTCLIPPlus holds images of its own classes alone."
    _kernel_search: Search | None = None
    # of TRAIN_BESIDE: k(g_i, G) A of the support [N, K], and the rows of the batch at hand
    _beside: Tensor
    _rows: Tensor

    def fit(self) -> dict[str, Tensor]:
        """Return "support" [N, D], "correction" [N, K] and "beta", a scalar, as ProKeR's."""
        views, labels = self.train_views(self.options.AUGMENT_EPOCHS)
        support = build_keys([view.global_features for view in views])
        residual = residuals(support, labels, self.text_features)
        val, val_labels = self.features("val")
        found = search_kernel(
            *(F.normalize(val.global_features, dim=-1), val_labels, support, residual),
            text_features=self.text_features,
            scale=self.scale,
        )
        self._kernel_search = found
        beta, lam = found.chosen["beta"], found.chosen["lam"]
        solved = correction(support, residual, beta, lam)
        if self.options.TRAIN_BESIDE == "left_out":
            self._beside = held_out(support, residual, beta, lam)
        elif self.options.TRAIN_BESIDE == "fitted":
            self._beside = kernel(support, support, beta) @ solved
        return {"support": support, "correction": solved, "beta": support.new_tensor(beta)}

    def logits(self, features: Features) -> Tensor:
        """Return s ((1 - u) cos(g, T) + u cos(g, VT) + w k(g, G) A), [B, K]."""
        return self._blend(
            self.zero_shot_logits(features),
            self.guided_logits(features),
            self.correction_logits(features),
            weight=self.selected_params.get("weight", FIRST_WEIGHT),
            guide=self.selected_params.get("guide", FIRST_GUIDE),
        )

    def correction_logits(self, features: Features) -> Tensor:
        """Return s k(g, G) A, [B, K]."""
        g = F.normalize(features.global_features, dim=-1)
        similar = kernel(g, self.fitted["support"], float(self.fitted["beta"]))
        return self.scale * similar @ self.fitted["correction"]

    def parse_batch_train(self, batch: dict[str, Any]) -> Any:
        """Return features and labels [B], and note which support images they are of."""
        self._rows = batch["index"].to(self.device)
        return super().parse_batch_train(batch)

    def loss(self, features: Features, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of a batch, beside what TRAIN_BESIDE names, and its logits."""
        apart = self.options.TRAIN_BESIDE == "nothing"
        with self._precision():
            return self.head.cross_entropy(
                self.text_features,
                *self._tokens(features),
                label,
                self.scale,
                offset=None if apart else self.scale * self._beside[self._rows],
                max_pairs=self.options.MAX_PAIRS,
            )

    def search(self) -> Search | None:
        """Choose the weights of the two parts; the search names all that was chosen."""
        if self._kernel_search is None:
            return None
        guided, labels = self.scores("val", self.guided_logits)
        corrected, _ = self.scores("val", self.correction_logits)
        zero_shot, _ = self.scores("val", self.zero_shot_logits)
        grid = {"weight": WEIGHTS}
        if self.options.SEARCH_GUIDE:
            grid["guide"] = GUIDES
        found = grid_search(
            lambda weight, guide=FIRST_GUIDE: self._blend(
                zero_shot, guided, corrected, weight=weight, guide=guide
            ),
            labels,
            grid=grid,
            zero_shot=zero_shot,
        )
        first = self._kernel_search
        return replace(
            found, grid={**first.grid, **found.grid}, chosen={**first.chosen, **found.chosen}
        )

    @staticmethod
    def _blend(
        zero_shot: Tensor, guided: Tensor, corrected: Tensor, *, weight: float, guide: float
    ) -> Tensor:
        return torch.lerp(zero_shot, guided, guide) + weight * corrected
