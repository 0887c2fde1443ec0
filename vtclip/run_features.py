"""The features of a run by split, as its trainer uses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from yacs.config import CfgNode

from vtclip.backbones import Backbone, VisualTokens, build_backbone
from vtclip.dataset_facts import SPLITS, DatasetFacts, require_items
from vtclip.errors import UserError
from vtclip.feature_provider import BankProvider, FeatureProvider, ImageProvider
from vtclip.features import (
    Encoding,
    FeatureLoader,
    Features,
    FeatureSource,
    FeatureStore,
    resolve_precision,
)
from vtclip.files import user_path
from vtclip.kept import kept
from vtclip.preprocessing import describe_transform, resolve_preprocessing, transform_of
from vtclip.screen import say
from vtclip.stopwatch import Stopwatch
from vtclip.threads import ThreadsByWork


class RunFeatures:
    """Features, labels and batches of the lists of a run.

    Args:
        cfg: the configuration, with the preprocessing of the backbone.
        facts: of the dataset.
        provider: where features come from.
        device: where features are needed.
        stopwatch: its part "features" counts the time spent here.
        drop_last, pool_views: of the training batches (see :class:`vtclip.method.MethodFacts`).
    """

    def __init__(
        self,
        cfg: CfgNode,
        facts: DatasetFacts,
        provider: FeatureProvider,
        device: torch.device,
        stopwatch: Stopwatch,
        drop_last: bool = True,
        pool_views: bool = False,
    ) -> None:
        self._cfg = cfg
        self._facts = facts
        self._provider = provider
        self._device = device
        self._clock = stopwatch
        self._batching = {"drop_last": drop_last, "pool_views": pool_views}

    def require(self, split: str) -> None:
        """Check that a split has images, and that this run may read them.

        Raises:
            UserError: it has none, or it is a split of few shots in a transfer.
        """
        if self._cfg.TRAINER.TRANSFER and split != "test":
            raise UserError(
                f"TRAINER.TRANSFER: {self._cfg.TRAINER.NAME} would read {split} images of classes "
                "that it was not trained on; finish its run first, so that its result.json says "
                "what was chosen."
            )
        require_items(self._facts, split, self._cfg)

    def labels(self, split: str) -> Tensor:
        """Return the labels [N], int64, on the CPU."""
        return torch.tensor([item.label for item in self._facts.items[split]])

    def whole(self, split: str) -> tuple[Features, Tensor]:
        """Return all features under the test transform and the labels [N], on the device.

        Raises:
            UserError: there are no such images.
        """
        self.require(split)
        with self._clock("features"):
            return self._fetch_all(self._provider.split(split)), self.labels(split).to(self._device)

    def scores(self, split: str, score: Callable[[Features], Tensor]) -> tuple[Tensor, Tensor]:
        """Return `score` of all batches, [N, ...], and the labels [N], on the device.

        Raises:
            UserError: there are no such images.
        """
        threads = ThreadsByWork()
        parts = []
        for batch in self.loader(split):
            with threads():
                parts.append(score(batch["features"].to(self._device)))
        return torch.cat(parts), self.labels(split).to(self._device)

    def train_views(self, count: int) -> list[Features]:
        """Return `count` augmented views of the training images, each in their order.

        Raises:
            UserError: there are no training images.
        """
        self.require("train")
        with self._clock("features"):
            return [self._fetch_all(view) for view in self._provider.train_views(count)]

    def loader(self, split: str) -> FeatureLoader:
        """Return the batches of a split: augmented and shuffled for "train".

        Raises:
            UserError: there are no such images.
        """
        self.require(split)
        loaders = self._cfg.DATALOADER
        with self._clock("features"):
            if split != "train":
                source = self._provider.split(split)
                return FeatureLoader([source], self.labels(split), loaders.TEST.BATCH_SIZE)
            sources = self._provider.train_views(self._cfg.FEATURES.VIEWS)
        size = loaders.TRAIN_X.BATCH_SIZE
        return FeatureLoader(sources, self.labels(split), size, shuffle=True, **self._batching)

    def _fetch_all(self, source: FeatureSource) -> Features:
        return source.fetch(torch.arange(len(source))).to(self._device)


def build_provider(
    cfg: CfgNode, facts: DatasetFacts, tokens: VisualTokens | None, device: torch.device
) -> tuple[CfgNode, FeatureProvider]:
    """Return the provider of a run's features, and the configuration as it was resolved for it.

    Args:
        cfg: the configuration of the run.
        facts: of the dataset.
        tokens: the kind of spatial features, None for none.
        device: where images are encoded.

    Raises:
        UserError: the weights, the preprocessing or the file of features cannot be used.
    """
    if facts.feature_bank is not None:
        return cfg, _bank_provider(cfg, facts, tokens)
    node = cfg.MODEL.BACKBONE
    print(f"Loading backbone {node.NAME}")
    backbone = kept(
        "backbone",
        (node.NAME, node.ACTIVATION, str(device)),
        lambda: build_backbone(node.NAME, node.ACTIVATION).to(device),
        most=1,
    )
    cfg = resolve_preprocessing(cfg, backbone)
    return cfg, _image_provider(cfg, facts, backbone, tokens)


def _image_provider(
    cfg: CfgNode, facts: DatasetFacts, backbone: Backbone, tokens: VisualTokens | None
) -> ImageProvider:
    if tokens == "backbone" and "joint" not in backbone.token_kinds:
        say(
            f"{backbone.name}: spatial features are {backbone.backbone_dim} wide and not in the "
            f"space of the texts, {backbone.embed_dim} wide; the head learns their projection"
        )
    settings = cfg.FEATURES
    precision = settings.PRECISION
    if precision == "auto" and backbone.is_light:
        precision = "fp32"
    return ImageProvider(
        Encoding(
            backbone,
            transform_of(cfg, is_train=False),
            transform_key=describe_transform(cfg, is_train=False),
            tokens=tokens,
            precision=resolve_precision(precision, backbone.logit_scale.device),
            compile=settings.COMPILE,
        ),
        (transform_of(cfg, is_train=True), describe_transform(cfg, is_train=True)),
        {split: [Path(item.impath) for item in facts.items[split]] for split in SPLITS},
        _store(settings),
        settings.KEY,
        settings.BATCH_SIZE,
        # a light backbone encodes a list in less time than worker processes take to start
        0 if backbone.is_light else cfg.DATALOADER.NUM_WORKERS,
    )


def _bank_provider(cfg: CfgNode, facts: DatasetFacts, tokens: VisualTokens | None) -> BankProvider:
    bank = facts.feature_bank
    if tokens and bank.test.spatial_features is None:
        raise UserError(
            f"DATASET.FEATURE_BANK: has no spatial features, which {cfg.TRAINER.NAME} needs; use "
            "images, or a bank that has them."
        )
    return BankProvider(bank)


def _store(settings: CfgNode) -> FeatureStore | None:
    """Return the feature cache of the FEATURES node, None for none."""
    if not settings.CACHE:
        return None
    return FeatureStore(user_path(settings.ROOT, "FEATURES.ROOT") if settings.ROOT else None)
