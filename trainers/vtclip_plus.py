"""VT-CLIP with ProKeR's kernel correction beside its texts; docs/successor.md measures it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from trainers.proker import ProKeR
from trainers.vtclip import VTCLIP, WEIGHTS
from vtclip.config import Option
from vtclip.errors import UserError
from vtclip.features import Features
from vtclip.methods.proker import held_out, residuals
from vtclip.results import Search
from vtclip.search import grid_search

# w, of the correction; 0 is VT-CLIP
CORRECTION_WEIGHTS = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0]
# where nothing is searched: ProKeR's
FIXED_WEIGHT = 1.0


@TRAINER_REGISTRY.register()
class VTCLIPPlus(ProKeR, VTCLIP):
    """Solves the correction once, trains the attention; validation weighs them."""

    OPTIONS = {
        **VTCLIP.OPTIONS,
        **ProKeR.OPTIONS,
        "LEAVE_ONE_OUT": Option(
            False,
            "train the attention beside the correction of each image that was solved without it, "
            "not alone as VT-CLIP's",
        ),
    }
    PROTOCOL = {**VTCLIP.PROTOCOL, **ProKeR.PROTOCOL}
    transfers = False
    no_transfer_reason = "the kernel of VTCLIPPlus holds images of its own classes alone."
    # of LEAVE_ONE_OUT: the corrections [N, K] of the support, and which rows a batch is of
    _left_out: Tensor
    _rows: Tensor

    def fit(self) -> dict[str, Tensor]:
        """Return what ProKeR fits."""
        fitted = super().fit()
        if self.options.LEAVE_ONE_OUT:
            support, labels = fitted["support"], self.features("train")[1]
            residual = residuals(support, labels, self.text_features)
            left_out = held_out(support, residual, **self.kernel())
            self._left_out = self.scale * left_out
        return fitted

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a search of one weight in a run that is to have none.

        Raises:
            UserError: names the keys.
        """
        super().check_cfg(cfg)
        if self.options.SEARCH_WEIGHT and not self.options.SEARCH:
            raise UserError(
                "TRAINER.VTCLIPPLUS.SEARCH_WEIGHT: True needs SEARCH True; with SEARCH False "
                "nothing is chosen."
            )

    def parse_batch_train(self, batch: dict[str, Any]) -> Any:
        """Return features and labels [B], and note which support images they are of."""
        self._rows = batch["index"].to(self.device)
        return super().parse_batch_train(batch)

    def offset(self, features: Features) -> Tensor | None:
        """Return what the logits of training hold beside the visual-guided texts, [B, K]."""
        offset = super().offset(features)
        if not self.options.LEAVE_ONE_OUT:
            return offset
        left_out = self._left_out[self._rows]
        return left_out if offset is None else offset + left_out

    def logits(self, features: Features) -> Tensor:
        """Return VT-CLIP's logits and w s k(g, G) A, [B, K]."""
        correction = self.chosen("correction_weight") * self.correction_logits(features)
        return VTCLIP.logits(self, features) + correction

    def chooses_on_val(self) -> bool:
        """Return SEARCH: the correction is chosen so whether the other weight is or not."""
        return bool(self.options.SEARCH)

    def fixed(self) -> dict[str, float]:
        """Return the values of both methods, and ProKeR's weight of its correction."""
        return {**ProKeR.fixed(self), **VTCLIP.fixed(self), "correction_weight": FIXED_WEIGHT}

    def search(self) -> Search | None:
        """Choose the weights of the parts; the search names all that was chosen."""
        first = self.kernel_search
        if first is None:
            return None
        guided, labels = self.scores("val", self.guided_logits)
        zero_shot, _ = self.scores("val", self.zero_shot_logits)
        corrected, _ = self.scores("val", self.correction_logits)
        options = self.options
        found = grid_search(
            lambda clip_logit_weight, correction_weight: (
                torch.lerp(guided, zero_shot, clip_logit_weight) + correction_weight * corrected
            ),
            labels,
            grid={
                "clip_logit_weight": (
                    WEIGHTS if options.SEARCH_WEIGHT else [options.CLIP_LOGIT_WEIGHT]
                ),
                "correction_weight": CORRECTION_WEIGHTS,
            },
            zero_shot=zero_shot,
        )
        return replace(
            found, grid={**first.grid, **found.grid}, chosen={**first.chosen, **found.chosen}
        )
