"""VT-CLIP and ProKeR's kernel correction, their logits mixed; docs/successor.md measures it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from trainers.proker import ProKeR
from trainers.vtclip import VTCLIP
from vtclip.config import Option
from vtclip.features import Features
from vtclip.methods.proker import held_out, residuals
from vtclip.results import Search
from vtclip.search import grid_search

# w, the share of ProKeR's logits; 0 is VT-CLIP, 1 is ProKeR
SHARES = [step / 10 for step in range(11)]
# where validation does not tell, or nothing is searched; docs/successor.md compares shares
FIXED_SHARE = 0.3


@TRAINER_REGISTRY.register()
class VTCLIPPlus(ProKeR, VTCLIP):
    """Solves the correction once, trains the attention as VT-CLIP's; validation mixes them."""

    # in the place of the share of zero-shot CLIP's logits is that of ProKeR's
    OPTIONS = {
        **{
            name: option
            for name, option in VTCLIP.OPTIONS.items()
            if name not in ("CLIP_LOGIT_WEIGHT", "SEARCH_WEIGHT")
        },
        **ProKeR.OPTIONS,
        "LEAVE_ONE_OUT": Option(
            False,
            "train the attention in the mixture, with the correction of each image that was solved "
            "without it, not alone as VT-CLIP's",
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

    def parse_batch_train(self, batch: dict[str, Any]) -> Any:
        """Return features and labels [B], and note which support images they are of."""
        self._rows = batch["index"].to(self.device)
        return super().parse_batch_train(batch)

    def blended_with(self, features: Features) -> tuple[float, Tensor | None]:
        """Return the share of ProKeR's logits in those of training, and them [B, K]; 0 and None."""
        if not self.options.LEAVE_ONE_OUT:
            return 0.0, None
        return FIXED_SHARE, self.zero_shot_logits(features) + self._left_out[self._rows]

    def logits(self, features: Features) -> Tensor:
        """Return (1 - w) s cos(g, VT) + w (s g T' + s k(g, G) A), [B, K]."""
        # a model that was saved without a search knows no number of shots, which fixed() needs
        share = self.chosen("proker_share") if self.selected_params else FIXED_SHARE
        return torch.lerp(self.guided_logits(features), ProKeR.logits(self, features), share)

    def chooses_on_val(self) -> bool:
        """Return SEARCH: kernel and share are chosen, or neither."""
        return bool(self.options.SEARCH)

    def fixed(self) -> dict[str, float]:
        """Return ProKeR's values, and the share of its logits."""
        return {**ProKeR.fixed(self), "proker_share": FIXED_SHARE}

    def search(self) -> Search | None:
        """Choose the share, near :data:`FIXED_SHARE`; the search names all that was chosen."""
        first = self.kernel_search
        if first is None:
            return None
        guided, labels = self.scores("val", self.guided_logits)
        proker, _ = self.scores("val", lambda features: ProKeR.logits(self, features))
        found = grid_search(
            lambda proker_share: torch.lerp(guided, proker, proker_share),
            labels,
            grid={"proker_share": SHARES},
            reference=torch.lerp(guided, proker, FIXED_SHARE),
        )
        return replace(
            found, grid={**first.grid, **found.grid}, chosen={**first.chosen, **found.chosen}
        )
