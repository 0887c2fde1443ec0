"""A small frozen model and images for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vtclip.backbones.base import (
    Backbone,
    VisualTokens,
    fingerprint_of,
)
from vtclip.image_features import Features

SIZE = 16


class StubBackbone(Backbone):
    """Two convolutions and a projection: D 6, C 5, S 16."""

    name = "stub"
    embed_dim = 6
    backbone_dim = 5
    image_size = SIZE

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.encoded = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
            self.second = nn.Conv2d(4, self.backbone_dim, 3, stride=2, padding=1)
            self.projection = nn.Linear(self.backbone_dim, self.embed_dim)
        self.requires_grad_(False)
        self.fingerprint = fingerprint_of(self.state_dict())

    @property
    def logit_scale(self) -> Tensor:
        return self.projection.weight.new_tensor(100.0)

    def encode_image(self, images: Tensor, tokens: VisualTokens | None = "joint") -> Features:
        self.encoded += len(images)
        spatial = self.second(self.first(images).relu()).flatten(2).transpose(1, 2)
        joint = self.projection(spatial)
        wanted = {"joint": joint, "backbone": spatial, None: None}[tokens]
        return Features(joint.mean(1), wanted)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        raise NotImplementedError


def plain_transform(image: Image.Image) -> Tensor:
    pixels = np.asarray(image.resize((SIZE, SIZE)), dtype=np.float32)
    return torch.from_numpy(pixels / 255 - 0.5).permute(2, 0, 1)


def write_images(folder: Path, count: int, first: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths
