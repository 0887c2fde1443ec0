"""Methods of other authors that are trained on the class vectors: their steps, replayed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vtclip.methods.lp_plus_plus import Descent

from .conftest import Arguments, Build
from .test_baselines import batches_of_training


@pytest.fixture(scope="module")
def long_texts(bank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bank with text features of lengths around 10, as CLIP encodes them."""
    arrays = dict(np.load(bank))
    arrays["text"] = arrays["text"] * np.linspace(8, 12, 6, dtype=np.float32)[:, None]
    path = tmp_path_factory.mktemp("long") / "long.npz"
    np.savez(path, **arrays)
    return path


def coops_rate(peak: float, epoch: int, epochs: int) -> float:
    """One epoch of warm-up at 1e-5, then a cosine over all epochs."""
    return 1e-5 if epoch == 0 else peak * (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2


def cosines(g: Tensor, weight: Tensor) -> Tensor:
    return F.normalize(g, dim=1) @ F.normalize(weight, dim=1).T


def raw_texts(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path)["text"]).double()


def test_task_res_takes_the_authors_steps(
    build: Build, on_bank: Arguments, tmp_path: Path, long_texts: Path
) -> None:
    built = build(on_bank("TaskRes", tmp_path, file=long_texts))
    steps = batches_of_training(built)
    assert len(steps) == 6 * 3
    texts = raw_texts(long_texts)
    x = torch.zeros_like(texts, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=2e-3, weight_decay=5e-4)
    for number, (g, y) in enumerate(steps):
        optimizer.param_groups[0]["lr"] = coops_rate(2e-3, number // 3, 6)
        optimizer.zero_grad()
        F.cross_entropy(20 * cosines(g.double(), texts + 0.5 * x), y).backward()
        optimizer.step()
    assert built.head.residual.abs().max() > 0.01
    torch.testing.assert_close(built.head.residual.double(), x, atol=1e-5, rtol=0)
    assert built.search_result is None


@pytest.mark.parametrize("trainer", ["ZSLP", "CLAP"])
def test_clap_takes_the_authors_steps(
    trainer: str, build: Build, on_bank: Arguments, tmp_path: Path, long_texts: Path
) -> None:
    built = build(on_bank(trainer, tmp_path, file=long_texts))
    texts = raw_texts(long_texts)
    train, labels = built.features("train")
    right = (20 * cosines(train.global_features.double(), texts)).softmax(1)[range(24), labels]
    lam = torch.stack([right[labels == k].mean() for k in range(6)])
    steps = batches_of_training(built)
    assert [len(y) for _, y in steps] == [8] * 6 * 3
    weight = texts.clone().requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    for number, (g, y) in enumerate(steps):
        optimizer.param_groups[0]["lr"] = coops_rate(0.1, number // 3, 6)
        optimizer.zero_grad()
        distance = (lam * ((weight - texts) ** 2).sum(1)).sum() / 6
        loss = F.cross_entropy(20 * cosines(g.double(), weight), y)
        (loss + distance if trainer == "CLAP" else loss).backward()
        optimizer.step()
    assert (weight - texts).abs().max() > 0.1
    torch.testing.assert_close(built.head.weight.double(), weight, atol=1e-5, rtol=1e-5)
    assert built.search_result is None


def test_lam_of_clap_is_of_all_views_and_an_epoch_draws_from_them(
    build: Build, tmp_path: Path
) -> None:
    named = ("--trainer", "CLAP", "--output-dir", str(tmp_path), "--shots", "2")
    size = ("DATALOADER.TRAIN_X.BATCH_SIZE", "64", "OPTIM.MAX_EPOCH", "2", "FEATURES.VIEWS", "5")
    built = build([*named, *size])
    steps = batches_of_training(built)
    # 20 images are one batch, which 100 views fill
    assert [len(y) for _, y in steps] == [64, 64]
    views, labels = built.train_views(5)
    of_views = [built.scale * cosines(v.global_features, built.texts) for v in views]
    right = torch.stack([logits.softmax(1)[range(20), labels] for logits in of_views])
    expected = torch.stack([right[:, labels == k].mean() for k in range(10)])
    torch.testing.assert_close(built.strengths, expected)


def test_lp_plus_plus_keeps_the_epoch_of_validation(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    built = build(on_bank("LPPlusPlus", tmp_path, "TRAINER.LPPLUSPLUS.EPOCHS", "40"))
    built.train()
    found = built.search()
    assert found.grid["epoch"] == list(range(1, 41))
    train, labels = built.features("train")
    g = F.normalize(train.global_features, dim=1)
    state = Descent(g, labels, built.text_features).at(int(found.chosen["epoch"]))
    for name, value in built.fitted.items():
        torch.testing.assert_close(value, getattr(state, name))
    val, val_labels = built.features("val")
    right = built.logits(val).argmax(dim=1) == val_labels
    assert found.accuracy == pytest.approx(100 * right.float().mean().item())
    assert built.trainable_parameters == 6 * 16 + 6 + 6


@pytest.mark.parametrize("trainer", ["TaskRes", "ZSLP", "CLAP"])
def test_class_vectors_start_as_zero_shot_clip(
    trainer: str, build: Build, on_bank: Arguments, tmp_path: Path, long_texts: Path
) -> None:
    built = build(on_bank(trainer, tmp_path, file=long_texts))
    features, _ = built.features("val")
    expected = 20 * cosines(features.global_features, raw_texts(long_texts).float())
    torch.testing.assert_close(built.logits(features), expected)


@pytest.mark.parametrize("trainer", ["TaskRes", "CLAP"])
def test_normalised_texts_are_said_to_be_other_than_those_of_the_recipe(
    trainer: str, build: Build, on_bank: Arguments, tmp_path: Path, long_texts: Path, capsys: Any
) -> None:
    build(on_bank(trainer, tmp_path / "normalised"))
    assert f"the recipe of {trainer} is for those" in capsys.readouterr().out
    build(on_bank(trainer, tmp_path / "long", file=long_texts))
    assert "the recipe of" not in capsys.readouterr().out


def test_prompts_of_one_class_are_averaged_as_they_are_encoded(
    build: Build, tmp_path: Path
) -> None:
    named = ("--trainer", "TaskRes", "--output-dir", str(tmp_path), "--shots", "1")
    built = build([*named, "TRAINER.PROMPT", "ensemble"])
    assert len(built.encoded_texts) == len(built.templates) == 8
    lengths = built.encoded_texts.norm(dim=-1)
    assert lengths.std() > 0
    assert built.head().equal(built.encoded_texts.mean(0))
