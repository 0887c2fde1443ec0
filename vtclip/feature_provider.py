"""The features of a run: from images and a backbone, or from a file of features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from PIL import Image
from torch import Tensor

from vtclip.backbones import Backbone
from vtclip.errors import UserError
from vtclip.features import (
    Encoding,
    FeatureSource,
    FeatureStore,
    MemoryFeatures,
    OnTheFlyFeatures,
    OnTheFlyViews,
    image_features,
)
from vtclip.kept import kept
from vtclip.prompts import fill
from vtclip.screen import progress
from vtclip.threads import one_thread_if

Transform = Callable[[Image.Image], Tensor]


class FeatureProvider(Protocol):
    """Features of the texts and of the images of a run.

    Attributes:
        backbone_name, fingerprint: identify the backbone in results.
        scale: the exponentiated logit scale.
        embed_dim: D.
        backbone_dim: C of spatial features before the joint space.
        precision: arithmetic of the backbone, "fp32", "bf16" or "fp16".
        is_light: whether no large backbone can take part in a training step.
    """

    backbone_name: str
    fingerprint: str
    precision: str
    scale: float
    embed_dim: int
    backbone_dim: int
    is_light: bool

    def encode_texts(self, templates: Sequence[str], classnames: Sequence[str]) -> Tensor:
        """Return the text features [P, K, D] of P templates, of the length they are encoded at."""

    def split(self, name: str) -> FeatureSource:
        """Return the features of "train", "val" or "test" under the test transform."""

    def train_views(self, count: int) -> list[FeatureSource]:
        """Return `count` augmented views of the training images; 0: one, new in every epoch."""


@dataclass
class ImageProvider:
    """Features of image files.

    Attributes:
        encoding: the deterministic one of the test transform.
        augmentation: the random transform of training, and its description.
        paths: the image files, by split.
        store: the feature cache, or None.
        key: how images are identified in the cache, "content" or "stat".
        batch_size: images per batch of the encoder.
        workers: processes that read images.
    """

    encoding: Encoding
    augmentation: tuple[Transform, str]
    paths: Mapping[str, Sequence[Path]]
    store: FeatureStore | None
    key: Literal["content", "stat"]
    batch_size: int
    workers: int

    def __post_init__(self) -> None:
        """Copy the properties of the backbone."""
        backbone = self.encoding.backbone
        self.backbone_name = backbone.name
        self.fingerprint = backbone.fingerprint
        self.scale = float(backbone.logit_scale)
        self.embed_dim = backbone.embed_dim
        self.backbone_dim = backbone.backbone_dim
        self.is_light = backbone.is_light
        self.precision: str = self.encoding.precision

    @torch.no_grad()
    def encode_texts(self, templates: Sequence[str], classnames: Sequence[str]) -> Tensor:
        """See :class:`FeatureProvider`."""
        backbone = self.encoding.backbone
        with one_thread_if(self.encoding.is_light):
            texts = kept(
                "texts",
                (backbone.fingerprint, str(backbone.logit_scale.device), *templates, *classnames),
                lambda: [_encode_in_parts(backbone, fill(t, classnames)) for t in templates],
                most=2,
            )
        # a copy of its own for each run
        return torch.stack(texts)

    def split(self, name: str) -> FeatureSource:
        """See :class:`FeatureProvider`."""
        return self._features(name, self.encoding, name)

    def train_views(self, count: int) -> list[FeatureSource]:
        """See :class:`FeatureProvider`."""
        transform, description = self.augmentation
        augmented = replace(self.encoding, transform=transform, transform_key=description)
        if not count:
            paths = self.paths["train"]
            return [
                OnTheFlyViews(OnTheFlyFeatures(paths, augmented, self.batch_size, self.workers))
            ]
        sources = []
        images = len(self.paths["train"])
        task = f"encoding train, {count} views"
        with progress(task, count * images, "images", whole=True) as bar:
            for view in range(count):
                name = f"train, view {view + 1}/{count}"
                sources.append(self._features("train", replace(augmented, view=view), name))
                bar.reach((view + 1) * images)
        return sources

    def _features(self, split: str, encoding: Encoding, desc: str) -> FeatureSource:
        return image_features(
            self.paths[split],
            encoding,
            cache=self.store,
            key=self.key,
            batch_size=self.batch_size,
            workers=self.workers,
            desc=desc,
        )


@dataclass
class BankProvider:
    """Features read from a file, without a backbone.

    Attributes:
        bank: the attribute `feature_bank` of the dataset FeatureBank: text [K, D], logit_scale,
            fingerprint, backbone, and Features of N images as train_x, val and test.
    """

    bank: Any

    def __post_init__(self) -> None:
        """Copy the properties of the backbone."""
        self.backbone_name: str = self.bank.backbone
        self.fingerprint: str = self.bank.fingerprint
        self.scale = float(self.bank.logit_scale)
        self.embed_dim: int = self.bank.text.shape[1]
        spatial = self.bank.test.spatial_features
        self.is_light = True
        self.backbone_dim: int = self.embed_dim if spatial is None else spatial.shape[2]
        # whatever they were computed in, they are float32 in the file
        self.precision: str = "fp32"

    def encode_texts(self, templates: Sequence[str], classnames: Sequence[str]) -> Tensor:
        """Return the bank's text features [1, K, D] as stored; it has no others.

        Raises:
            UserError: more than one template is given.
        """
        if len(templates) > 1:
            raise UserError(
                "DATASET.FEATURE_BANK: holds the text features of one prompt per class; an "
                "ensemble of prompts needs images and a backbone."
            )
        texts: Tensor = self.bank.text
        return texts[None]

    def split(self, name: str) -> FeatureSource:
        """See :class:`FeatureProvider`."""
        part = {"train": self.bank.train_x, "val": self.bank.val, "test": self.bank.test}[name]
        return MemoryFeatures(part)

    def train_views(self, count: int) -> list[FeatureSource]:
        """Return the training features once: a file of features has no augmented views."""
        return [self.split("train")]


@dataclass
class AbsentBackbone:
    """The properties of a backbone that is not here, for a finished run that needs no more.

    Attributes: see :class:`FeatureProvider`.
    """

    backbone_name: str
    fingerprint: str
    scale: float
    embed_dim: int
    backbone_dim: int
    precision: str = "fp32"
    is_light: bool = True

    def encode_texts(self, templates: Sequence[str], classnames: Sequence[str]) -> Tensor:
        """Refuse.

        Raises:
            UserError: always.
        """
        raise self._error()

    def split(self, name: str) -> FeatureSource:
        """Refuse.

        Raises:
            UserError: always.
        """
        raise self._error()

    def train_views(self, count: int) -> list[FeatureSource]:
        """Refuse.

        Raises:
            UserError: always.
        """
        raise self._error()

    def _error(self) -> UserError:
        return UserError(
            f"MODEL.BACKBONE.NAME: {self.backbone_name} is not loaded, so there are no features "
            "but those that are given."
        )


def _encode_in_parts(backbone: Backbone, prompts: Sequence[str], at_once: int = 256) -> Tensor:
    parts = [prompts[start : start + at_once] for start in range(0, len(prompts), at_once)]
    return torch.cat([backbone.encode_text(part) for part in parts])
