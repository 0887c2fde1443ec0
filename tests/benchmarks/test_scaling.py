"""The benchmark of ImageNet's size works on the batches that a run reads."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.machine import precisions
from benchmarks.scaling import measured
from vtclip.features.loader import FeatureLoader
from vtclip.features.source import MemoryFeatures
from vtclip.image_features import Features


def test_the_first_batches_are_worked_on_in_each_precision() -> None:
    features = Features(torch.randn(12, 4), torch.randn(12, 9, 4))
    labels = torch.arange(12)
    seen = []

    def work(images: Tensor, spatial: Tensor, labels: Tensor, products: torch.autocast) -> None:
        with products:
            dtype = (images @ images.T).dtype
        seen.append((images.shape, spatial.shape, labels.tolist(), dtype))

    seconds = measured(FeatureLoader([MemoryFeatures(features)], labels, 2), work, 2)
    assert {name: len(times) for name, times in seconds.items()} == dict.fromkeys(precisions(), 2)
    dtypes = [getattr(torch, {"fp32": "float32", "bf16": "bfloat16"}[p]) for p in precisions()]
    assert seen == [
        ((2, 4), (2, 9, 4), [2 * n, 2 * n + 1], dtype)
        for n, dtype in enumerate(dtype for dtype in dtypes for _ in range(2))
    ]
