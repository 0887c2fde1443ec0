"""Tip-Adapter and Tip-Adapter-F (arXiv 2207.09519): a cache of the few-shot images."""

from __future__ import annotations

from functools import lru_cache

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.tip_adapter import build_keys, cache_logits
from vtclip.methods.zero_shot import cosine_logits
from vtclip.results import Search
from vtclip.search import geometric, grid_search

# one grid for all datasets; the authors search up to 3 on some and up to 50 on others
VALUES = geometric(0.1, 50.0, 28)


class Cache(nn.Module):
    """Keys [N, D] and labels [N] of the few-shot images.

    Args:
        keys: see :func:`vtclip.methods.tip_adapter.build_keys`.
        labels: int64.
        trainable: whether the keys are trained (Tip-Adapter-F).
    """

    def __init__(self, keys: Tensor, labels: Tensor, *, trainable: bool) -> None:
        super().__init__()
        self.labels: Tensor
        self.keys = nn.Parameter(keys.clone(), requires_grad=trainable)
        self.register_buffer("labels", labels.clone())


@TRAINER_REGISTRY.register()
class TipAdapter(FrozenCLIPTrainer):
    """Zero-shot CLIP plus a cache; nothing is trained, alpha and beta are searched."""

    other_classes = "the cache of Tip-Adapter holds images of its own classes alone."
    cache: Cache

    def options(self) -> CfgNode:
        """Return the node TRAINER.TIPADAPTER."""
        return self.cfg.TRAINER.TIPADAPTER

    def build_head(self) -> Cache | None:
        """Fill the cache from TRAINER.TIPADAPTER.AUGMENT_EPOCHS views; there is no head."""
        self.cache = self.build_cache(trainable=False)
        return None

    def build_cache(self, *, trainable: bool) -> Cache:
        """Return the cache of the training images, on `device`."""
        views = self.train_views(self.options().AUGMENT_EPOCHS)
        keys = build_keys([view.global_features for view in views])
        return Cache(keys, self._labels("train"), trainable=trainable).to(self.device)

    def logits(self, features: Features) -> Tensor:
        """Return zero-shot CLIP's logits [B, K] plus alpha times the cache's."""
        alpha = self.chosen.get("alpha", self.options().ALPHA)
        beta = self.chosen.get("beta", self.options().BETA)
        g = features.global_features
        zero_shot = cosine_logits(g, self.text_features, self.scale)
        return zero_shot + alpha * self.retrieve(g, beta)

    def retrieve(self, g: Tensor, beta: float) -> Tensor:
        """Return what the cache says of global features [B, D], [B, K]."""
        return cache_logits(g, self.cache.keys, self.cache.labels, len(self.text_features), beta)

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
        )


@TRAINER_REGISTRY.register()
class TipAdapterF(TipAdapter):
    """Tip-Adapter whose keys are trained, at the configured alpha and beta, before the search."""

    schedule_by_step = True

    def options(self) -> CfgNode:
        """Return the node TRAINER.TIPADAPTERF."""
        return self.cfg.TRAINER.TIPADAPTERF

    def build_head(self) -> Cache:
        """Return the cache of TRAINER.TIPADAPTERF.AUGMENT_EPOCHS views, to be trained."""
        self.cache = self.build_cache(trainable=True)
        return self.cache

    def build_optimizer(self, head: nn.Module) -> torch.optim.Optimizer:
        """Return the authors' AdamW: its epsilon is no key of Dassl's OPTIM node."""
        optim = self.cfg.OPTIM
        return torch.optim.AdamW(
            head.parameters(), lr=optim.LR, weight_decay=optim.WEIGHT_DECAY, eps=1e-4
        )
