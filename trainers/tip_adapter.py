"""Tip-Adapter and Tip-Adapter-F (arXiv 2207.09519): a cache of the few-shot images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.errors import UserError
from vtclip.features import Features
from vtclip.methods.tip_adapter import build_keys, cache_logits
from vtclip.methods.zero_shot import cosine_logits
from vtclip.results import Search
from vtclip.search import SEARCH, geometric, grid_search

# one grid for all datasets; the authors search up to 3 on some and up to 50 on others
VALUES = geometric(0.1, 50.0, 28)

# init_alpha of the authors' configurations (configs/*.yaml of gaopengcuhk/Tip-Adapter), before
# validation chooses; init_beta is 1 in all of them
AUTHORS_ALPHA = {
    "ImageNet": 1.17,
    "Caltech101": 3.0,
    "OxfordPets": 1.17,
    "StanfordCars": 3.0,
    "OxfordFlowers": 10.0,
    "Food101": 1.17,
    "FGVCAircraft": 5.0,
    "SUN397": 1.17,
    "DescribableTextures": 2.0,
    "EuroSAT": 2.0,
    "UCF101": 3.0,
}
AUTHORS = -1.0
ALPHA = Option(
    AUTHORS,
    "before validation chooses; -1: the authors' for the dataset, ImageNet's 1.17 for others",
    low=-1,
)
BETA = Option(1.0, "before validation chooses", above=0)

AUGMENT_EPOCHS = Option(10, "augmented views that a key is the mean of", low=1, high=1000)
CACHE_OPTIONS = {
    "AUGMENT_EPOCHS": AUGMENT_EPOCHS,
    "ALPHA": ALPHA,
    "BETA": BETA,
    "SEARCH": SEARCH,
}
AUGMENTATION = {"INPUT.RRCROP_SCALE": (0.5, 1.0)}


class Cache(nn.Module):
    """Keys [N, D] and labels [N] of the few-shot images, the keys trained.

    Args:
        keys: see :func:`vtclip.methods.tip_adapter.build_keys`.
        labels: int64.
    """

    def __init__(self, keys: Tensor, labels: Tensor) -> None:
        super().__init__()
        self.labels: Tensor
        self.keys = nn.Parameter(keys.clone())
        self.register_buffer("labels", labels.clone())


class CacheTrainer(FrozenCLIPTrainer):
    """What both share: the logits with a cache, and the search of alpha and beta."""

    prompts = "imagenet"
    no_transfer_reason = "the cache of Tip-Adapter holds images of its own classes alone."

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a negative ALPHA other than the one that stands for the authors'.

        Raises:
            UserError: names the key.
        """
        super().check_cfg(cfg)
        if self.options.ALPHA < 0 and self.options.ALPHA != AUTHORS:
            raise UserError(
                f"TRAINER.{self.option_node()}.ALPHA: {self.options.ALPHA} is negative; only -1 "
                "may be, the authors' value."
            )

    def build_cache(self) -> tuple[Tensor, Tensor]:
        """Return keys and labels of the training images, from AUGMENT_EPOCHS views."""
        views, labels = self.train_views(self.options.AUGMENT_EPOCHS)
        return build_keys([view.global_features for view in views]), labels

    def first_alpha(self) -> float:
        """Return alpha before validation chooses, the one that keys are trained at."""
        if self.options.ALPHA != AUTHORS:
            return float(self.options.ALPHA)
        return AUTHORS_ALPHA.get(self.cfg.DATASET.NAME, AUTHORS_ALPHA["ImageNet"])

    def fixed(self) -> dict[str, float]:
        """Return the values that keys are trained at."""
        return {"alpha": self.first_alpha(), "beta": float(self.options.BETA)}

    def cache(self) -> tuple[Tensor, Tensor]:
        """Return the keys [N, D] and labels [N] that are in use."""
        raise NotImplementedError

    def logits(self, features: Features) -> Tensor:
        """Return zero-shot CLIP's logits [B, K] plus alpha times the cache's."""
        g = features.global_features
        zero_shot = cosine_logits(g, self.text_features, self.scale)
        return zero_shot + self.chosen("alpha") * self.retrieve(g, self.chosen("beta"))

    def retrieve(self, g: Tensor, beta: float) -> Tensor:
        """Return the logits of the cache for global features [B, D], [B, K]."""
        return cache_logits(g, *self.cache(), len(self.text_features), beta)

    def search(self) -> Search:
        """Choose alpha and beta."""
        features, labels = self.features("val")
        g = features.global_features
        zero_shot = cosine_logits(g, self.text_features, self.scale)
        # the grid goes through all alphas of one beta
        retrieve = lru_cache(maxsize=1)(lambda beta: self.retrieve(g, beta))
        return grid_search(
            lambda beta, alpha: zero_shot + alpha * retrieve(beta),
            labels,
            grid={"beta": VALUES, "alpha": VALUES},
            reference=zero_shot,
        )


@TRAINER_REGISTRY.register()
class TipAdapter(CacheTrainer):
    """Zero-shot CLIP plus a cache; nothing is trained, alpha and beta are searched."""

    OPTIONS = CACHE_OPTIONS
    PROTOCOL = AUGMENTATION
    FITTED = {"keys": "ND", "labels": "N:labels"}

    def fit(self) -> dict[str, Tensor]:
        """Return "keys" [N, D] and "labels" [N] of the cache."""
        keys, labels = self.build_cache()
        return {"keys": keys, "labels": labels}

    def cache(self) -> tuple[Tensor, Tensor]:
        """Return the fitted keys and labels."""
        return self.fitted["keys"], self.fitted["labels"]


@TRAINER_REGISTRY.register()
class TipAdapterF(CacheTrainer):
    """Tip-Adapter whose keys are trained, at the configured alpha and beta, before the search."""

    OPTIONS = CACHE_OPTIONS
    PROTOCOL = {
        **AUGMENTATION,
        "DATALOADER.TRAIN_X.BATCH_SIZE": 256,
        "OPTIM.NAME": "adamw",
        "OPTIM.LR": 1e-3,
        "OPTIM.WEIGHT_DECAY": 0.01,
        "OPTIM.WARMUP_EPOCH": -1,
    }
    FITTED = {"keys": "ND", "labels": "N:labels"}
    schedule_by_step = True
    drop_last = False
    head: Cache

    @classmethod
    def protocol_epochs(cls, dataset: str, shots: int) -> int:
        """Return the authors' 20, and 100 on EuroSAT."""
        return 100 if dataset == "EuroSAT" else 20

    def build_head(self) -> Cache:
        """Return the cache, to be trained."""
        return Cache(*self.build_cache())

    def head_of(self, state_dict: Mapping[str, Tensor]) -> Cache:
        """Return a cache of trained keys."""
        return Cache(state_dict["keys"], state_dict["labels"])

    def cache(self) -> tuple[Tensor, Tensor]:
        """Return the trained keys, and the labels."""
        return self.head.keys, self.head.labels

    def build_optimizer(self, head: nn.Module) -> torch.optim.Optimizer:
        """Return the authors' AdamW: its epsilon is no key of Dassl's OPTIM node."""
        optim = self.cfg.OPTIM
        return torch.optim.AdamW(
            head.parameters(), lr=optim.LR, weight_decay=optim.WEIGHT_DECAY, eps=1e-4
        )
