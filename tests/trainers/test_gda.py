"""GDA-CLIP as a trainer: its samples and its scores."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F

from vtclip.methods.gda import discriminant

from .conftest import Arguments, Build


def test_each_augmented_view_is_a_sample(build: Build, tmp_path: Path) -> None:
    flags = ("--trainer", "GDA", "--shots", "2", "--output-dir", str(tmp_path))
    built = build([*flags, "TRAINER.GDA.AUGMENT_EPOCHS", "3"])
    views, labels = built.train_views(3)
    assert len(views) == 3 and len(labels) == 20
    samples = torch.cat([F.normalize(view.global_features, dim=-1) for view in views])
    assert not samples[:20].equal(samples[20:40])
    weight, bias = discriminant(samples, torch.cat([labels] * 3), 10)
    fitted = built.fit()
    assert fitted["weight"].equal(weight) and fitted["bias"].equal(bias)


def test_scores_are_zero_shot_plus_alpha_times_the_discriminant(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    built = build(on_bank("GDA", tmp_path))
    built.fitted = built.fit()
    built.selected_params = {"alpha": 0.3}
    features, _ = built.features("val")
    g = F.normalize(features.global_features, dim=-1)
    gaussian = g @ built.fitted["weight"].T + built.fitted["bias"]
    expected = 20 * g @ built.text_features.T + 0.3 * gaussian
    torch.testing.assert_close(built.logits(features), expected)
