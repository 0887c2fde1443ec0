"""CLIP-Adapter's own program beside ours, where VTCLIP_CLIP_ADAPTER names a checkout of it.

Their model asks for the width of RN50 and a CUDA device; both are set to what is here. Images are
features already, so that their image encoder is the identity.
"""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from dassl.optim import build_optimizer
from torch import Tensor, nn

from benchmarks.authors.shims import on_cpu
from vtclip.methods.zero_shot import cosine_logits

from .conftest import Arguments, Build, checkout, module_of
from .test_baselines import batches_of_training
from .test_rivals import coops_rate


@pytest.fixture(scope="module")
def authors() -> ModuleType:
    repository = "gaopengcuhk/CLIP-Adapter"
    folder = checkout("VTCLIP_CLIP_ADAPTER", repository, "clip_adapter.py")
    return module_of(folder / "clip_adapter.py")


class FeaturesAsCLIP(nn.Module):
    """What their model takes from CLIP, with features in the place of the encoders."""

    dtype = torch.float32

    def __init__(self, text_features: Tensor, scale: float) -> None:
        super().__init__()
        self.visual = nn.Identity()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=False)
        self.encode_text = lambda tokens: text_features


def trained_by_authors(authors: ModuleType, ours: Any) -> nn.Module:
    """Train ours, then their model from the same first weights on the same batches."""
    clip = FeaturesAsCLIP(ours.text_features, float(ours.scale))
    authors.CUSTOM_TEMPLATES.setdefault(ours.cfg.DATASET.NAME, "a photo of a {}.")
    model = authors.CustomCLIP(ours.cfg, ours.classnames, clip)
    model.adapter = authors.Adapter(ours.provider.embed_dim, 4)
    for theirs, first in zip(model.adapter.parameters(), ours.head.parameters(), strict=True):
        theirs.data.copy_(first)
    steps = batches_of_training(ours)
    optimizer = build_optimizer(model.adapter, ours.cfg.OPTIM)
    epochs = count()

    def next_rate() -> None:
        optimizer.param_groups[0]["lr"] = coops_rate(2e-3, next(epochs), ours.max_epoch)

    def step(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    trainer = object.__new__(authors.CLIP_Adapter)
    trainer.model, trainer.device = model, torch.device("cpu")
    trainer.num_batches = len(steps) // ours.max_epoch
    trainer.update_lr, trainer.model_backward_and_update = next_rate, step
    next_rate()
    for number, (g, y) in enumerate(steps):
        trainer.batch_idx = number % trainer.num_batches
        trainer.forward_backward({"img": g, "label": y})
    return model


def test_same_weights_and_logits_after_the_same_batches(
    authors: ModuleType, build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    ours = build(on_bank("CLIPAdapter", tmp_path))
    first = ours.head.down.weight.detach().clone()
    with on_cpu():
        model = trained_by_authors(authors, ours)
    down, up = model.adapter.parameters()
    assert (down - first).abs().max() > 1e-4
    torch.testing.assert_close(ours.head.down.weight, down, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours.head.up.weight, up, atol=1e-6, rtol=1e-5)
    features, _ = ours.features("val")
    with torch.no_grad(), on_cpu():
        logits = model(features.global_features)
        torch.testing.assert_close(ours.logits(features), logits, atol=1e-4, rtol=1e-5)
    zero_shot = cosine_logits(features.global_features, ours.text_features, ours.scale)
    assert (logits - zero_shot).abs().max() > 0.01
