"""ZS-LP and CLAP (arXiv 2312.12730): linear probes that start at the texts."""

from __future__ import annotations

from collections.abc import Mapping

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.clap import ClassVectors, class_strengths, distance_from_texts
from vtclip.methods.zero_shot import cosine_logits


@TRAINER_REGISTRY.register()
class ZSLP(FrozenCLIPTrainer):
    """Trains the class vectors by the authors' recipe; the last epoch is kept."""

    PROTOCOL = {
        "FEATURES.VIEWS": 20,
        "DATALOADER.TRAIN_X.BATCH_SIZE": 256,
        "OPTIM.NAME": "sgd",
        "OPTIM.LR": 0.1,
        "OPTIM.WEIGHT_DECAY": 0.0,
    }
    FITTED = {"weight": "KD"}
    prompts = "imagenet+single"
    pool_views = True
    no_transfer_reason = "the class vectors are trained on images of their own classes."
    head: ClassVectors

    @classmethod
    def protocol_epochs(cls, dataset: str, shots: int) -> int:
        """Return the authors' 300."""
        return 300

    def build_head(self) -> ClassVectors:
        """Return class vectors that start at the mean of the encoded prompts."""
        return ClassVectors(self.class_texts())

    def head_of(self, state_dict: Mapping[str, Tensor]) -> ClassVectors:
        """Return trained class vectors."""
        return ClassVectors(state_dict["weight"])

    def logits(self, features: Features) -> Tensor:
        """Return s cos(g, W), [B, K]."""
        return cosine_logits(features.global_features, self.head(), self.scale)


@TRAINER_REGISTRY.register()
class CLAP(ZSLP):
    """Holds each class vector the nearer to its text, the better zero-shot CLIP is on its images.

    Attributes:
        texts: t [K, D], where the class vectors start.
        strengths: lam [K], from before the first epoch.
    """

    texts: Tensor
    strengths: Tensor

    def build_head(self) -> ClassVectors:
        """Return class vectors that start at the mean of the encoded prompts."""
        head = super().build_head()
        self.texts = head.weight.detach().clone()
        return head

    def before_train(self) -> None:
        """Work out lam from all views of the training images."""
        super().before_train()
        # views that are not cached are drawn alike in a resumed run
        self._seed(0)
        views, labels = self.train_views(self.cfg.FEATURES.VIEWS)
        g = Features.cat(views).global_features
        zero_shot = cosine_logits(g, self.texts, self.scale)
        self.strengths = class_strengths(zero_shot, labels.repeat(len(views)))

    def loss(self, features: Features, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy plus the distance from the texts, and the logits [B, K]."""
        logits = self.logits(features)
        distance = distance_from_texts(self.head(), self.texts, self.strengths)
        return F.cross_entropy(logits, label) + distance, logits
