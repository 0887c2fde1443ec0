"""Counts of classes against PyTorch's own."""

from __future__ import annotations

import torch

from vtclip.methods.class_counts import class_counts


def test_as_bincount() -> None:
    torch.manual_seed(0)
    labels = torch.randint(9, (50,))
    counts = class_counts(labels, 12)
    assert counts.equal(labels.bincount(minlength=12))
    assert class_counts(labels[:0], 3).tolist() == [0, 0, 0]


def test_it_runs_without_looking_at_the_labels() -> None:
    counts = class_counts(torch.empty(5, dtype=torch.int64, device="meta"), 3)
    assert (counts.shape, counts.dtype, counts.device.type) == ((3,), torch.int64, "meta")
