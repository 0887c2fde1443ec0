from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from vtclip.methods.tip_adapter import build_keys, cache_logits


def test_keys_are_the_normalised_mean_of_the_views() -> None:
    views = [torch.tensor([[6.0, 0.0]]), torch.tensor([[0.0, 8.0]])]
    assert build_keys(views).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_cache_by_hand() -> None:
    # affinities of the image (1, 0) with the keys: 1, 0.6, 0; the first two keys are of class 1
    keys = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    labels = torch.tensor([1, 1, 0])
    found = cache_logits(torch.tensor([[5.0, 0.0]]), keys, labels, 3, beta=2.0)
    expected = [math.exp(-2), 1 + math.exp(-0.8), 0.0]
    assert found[0].tolist() == pytest.approx(expected)


def test_cache_is_the_product_with_one_hot_labels() -> None:
    torch.manual_seed(0)
    g, keys = torch.randn(5, 7), F.normalize(torch.randn(12, 7), dim=-1)
    labels = torch.arange(12) % 4
    weights = (-3.5 * (1 - F.normalize(g, dim=-1) @ keys.T)).exp()
    expected = weights @ F.one_hot(labels, 4).float()
    torch.testing.assert_close(cache_logits(g, keys, labels, 4, 3.5), expected)
