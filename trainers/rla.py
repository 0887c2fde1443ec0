"""RLA (arXiv 2410.05270): a linear map of the global features, held near the identity."""

from __future__ import annotations

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.errors import UserError
from vtclip.features import Features
from vtclip.methods.rla import LinearMap
from vtclip.methods.zero_shot import cosine_logits

BY_SHOTS = -1.0


class MapTrainer(FrozenCLIPTrainer):
    """What RLA and P0 share: 300 steps of Adam, each on all training images."""

    PROTOCOL = {
        "INPUT.RRCROP_SCALE": (0.5, 1.0),
        # the largest that the key takes, so that a batch is the whole list
        "DATALOADER.TRAIN_X.BATCH_SIZE": 1_000_000,
        "OPTIM.NAME": "adam",
        "OPTIM.WEIGHT_DECAY": 0.0,
        "OPTIM.WARMUP_EPOCH": -1,
    }
    drop_last = False

    @classmethod
    def protocol_epochs(cls, dataset: str, shots: int) -> int:
        """Return the authors' 300, of one step each."""
        return 300

    def adam(self, groups: list[dict[str, object]]) -> torch.optim.Adam:
        """Return the authors' Adam: its epsilon is no key of Dassl's OPTIM node."""
        optim = self.cfg.OPTIM
        return torch.optim.Adam(groups, lr=optim.LR, weight_decay=optim.WEIGHT_DECAY, eps=1e-4)


@TRAINER_REGISTRY.register()
class RLA(MapTrainer):
    """Trains the map by the authors' recipe without validation: lam is 1 / shots."""

    OPTIONS = {
        "LAMBDA": Option(BY_SHOTS, "weight of |A|^2; -1: 1 over the images per class", low=-1),
    }
    PROTOCOL = {**MapTrainer.PROTOCOL, "OPTIM.LR": 1e-5}
    prompts = "imagenet"
    transfers = True
    head: LinearMap

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a negative LAMBDA other than the one that stands for the authors'.

        Raises:
            UserError: names the key.
        """
        super().check_cfg(cfg)
        if self.options.LAMBDA < 0 and self.options.LAMBDA != BY_SHOTS:
            raise UserError(
                f"TRAINER.RLA.LAMBDA: {self.options.LAMBDA} is negative; only -1 may be, 1 over "
                "the images per class."
            )

    def build_head(self) -> LinearMap:
        """Return the map at the width of the backbone."""
        return LinearMap(self.provider.embed_dim)

    def build_optimizer(self, head: nn.Module) -> torch.optim.Optimizer:
        """Return Adam at OPTIM.LR."""
        return self.adam([{"params": list(head.parameters())}])

    def logits(self, features: Features) -> Tensor:
        """Return s cos(g + g A, T), [B, K]."""
        return cosine_logits(self.head(features.global_features), self.text_features, self.scale)

    def loss(self, features: Features, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return cross-entropy + lam |A|_F^2, and the logits [B, K]."""
        logits = self.logits(features)
        by_shots = self.options.LAMBDA == BY_SHOTS
        lam = 1 / self.images_per_class() if by_shots else self.options.LAMBDA
        return F.cross_entropy(logits, label) + lam * self.head.weight.square().sum(), logits
