"""SS-Text (Silva-Rodriguez et al., MICCAI 2025): class vectors in one line, nothing to choose."""

from __future__ import annotations

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.ss_text import class_weights, repelled
from vtclip.methods.zero_shot import cosine_logits


@TRAINER_REGISTRY.register()
class SSText(FrozenCLIPTrainer):
    """Closed form, without validation images."""

    OPTIONS = {
        "REPEL": Option(False, "push class vectors apart, as the authors' program does"),
    }
    FITTED = {"weight": "KD"}
    no_transfer_reason = "the class vectors of SS-Text hold images of their own classes."

    def fit(self) -> dict[str, Tensor]:
        """Return "weight" [K, D] from the images under the test transform."""
        features, labels = self.features("train")
        g = F.normalize(features.global_features, dim=-1)
        weight = class_weights(self.text_features, g, labels, self.scale)
        return {"weight": repelled(weight) if self.options.REPEL else weight}

    def logits(self, features: Features) -> Tensor:
        """Return s cos(g, W), [B, K]."""
        weight = F.normalize(self.fitted["weight"], dim=-1)
        return cosine_logits(features.global_features, weight, self.scale)
