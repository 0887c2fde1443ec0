"""TaskRes (arXiv 2211.10277): a residual on the text feature of each class."""

from __future__ import annotations

from collections.abc import Mapping

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.task_res import TextResidual
from vtclip.methods.zero_shot import cosine_logits


@TRAINER_REGISTRY.register()
class TaskRes(FrozenCLIPTrainer):
    """Trains the residuals by the authors' recipe for regular TaskRes; the last epoch is kept."""

    OPTIONS = {"RESIDUAL_SCALE": Option(0.5, "factor of the trained residual", above=0)}
    PROTOCOL = {
        "DATALOADER.TRAIN_X.BATCH_SIZE": 256,
        "OPTIM.NAME": "adam",
        "OPTIM.LR": 2e-3,
    }
    PROTOCOL_ON = {
        "ImageNet": {"OPTIM.LR": 2e-4},
        "OxfordFlowers": {"TRAINER.TASKRES.RESIDUAL_SCALE": 1.0},
    }
    FITTED = {"residual": "KD", "texts": "KD"}
    prompts = "imagenet+single"
    no_transfer_reason = "TaskRes has a residual for each of its own classes and no others."
    head: TextResidual

    @classmethod
    def protocol_epochs(cls, dataset: str, shots: int) -> int:
        """Return the authors' 100 up to 4 shots, and 200."""
        return 100 if shots in (1, 2, 4) else 200

    def build_head(self) -> TextResidual:
        """Return residuals of 0 on the mean of the encoded prompts."""
        return TextResidual(self.class_texts(), self.options.RESIDUAL_SCALE)

    def head_of(self, state_dict: Mapping[str, Tensor]) -> TextResidual:
        """Return residuals on the texts that they were trained on."""
        return TextResidual(state_dict["texts"], self.options.RESIDUAL_SCALE)

    def logits(self, features: Features) -> Tensor:
        """Return s cos(g, W), [B, K]."""
        return cosine_logits(features.global_features, self.head(), self.scale)
