"""Views on the fly: new in every pass, the same for a seed with any number of workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from vtclip.errors import UserError
from vtclip.features import Encoding, FeatureLoader, OnTheFlyFeatures, OnTheFlyViews

from .stub import plain_transform


def noisy(image: Image.Image) -> Tensor:
    return plain_transform(image) + torch.randn(())


def epochs_of(paths: list[Path], encoding: Encoding, workers: int) -> list[Tensor]:
    source = OnTheFlyViews(OnTheFlyFeatures(paths, replace(encoding, transform=noisy), 4, workers))
    loader = FeatureLoader([source], torch.arange(10), 4, shuffle=True, drop_last=True)
    torch.manual_seed(0)
    return [torch.cat([batch["features"].global_features for batch in loader]) for _ in range(2)]


def test_a_seed_gives_the_same_views_with_any_number_of_workers(paths, encoding) -> None:
    alone, helped = (epochs_of(paths, encoding, workers) for workers in (0, 2))
    for mine, theirs in zip(alone, helped, strict=True):
        assert mine.equal(theirs)


def test_every_pass_is_a_new_view(paths, encoding) -> None:
    source = OnTheFlyViews(OnTheFlyFeatures(paths, replace(encoding, transform=noisy), 4, 0))
    rows = torch.arange(10)
    assert not source.fetch(rows).global_features.allclose(source.fetch(rows).global_features)


def test_a_broken_image_is_one_line(paths, encoding) -> None:
    paths[3].write_bytes(paths[3].read_bytes()[:60])
    source = OnTheFlyViews(OnTheFlyFeatures(paths, encoding, 4, 0))
    with pytest.raises(UserError, match=r"3\.png: damaged image"):
        source.fetch(torch.arange(10))
