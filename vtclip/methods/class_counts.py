"""How many images each class has."""

from __future__ import annotations

from torch import Tensor


def class_counts(labels: Tensor, n_classes: int) -> Tensor:
    """Return the number of images of each class, [K], int64, of labels [N], int64.

    Unlike `bincount`, its size does not depend on the labels, so that it runs on every device
    without waiting for them.

    >>> import torch
    >>> class_counts(torch.tensor([0, 2, 2]), 4)
    tensor([1, 0, 2, 0])
    """
    return labels.new_zeros(n_classes).scatter_add(0, labels, labels.new_ones(labels.shape))
