"""GDA-CLIP (Wang et al., ICLR 2024, arXiv 2402.04087): Gaussian discriminant analysis of features.

Every class is a Gaussian of its own mean and of one covariance for all. With the class means mu_k
of the support features G [N, D] and the covariance S of the features centred by class, the
precision is P = D pinv((N - 1) S + tr(S) I), and an image g has the scores
g' P mu_k - mu_k' P mu_k / 2. The prior of the classes is uniform, so its logarithm is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vtclip.methods.class_counts import class_counts


def class_means(support: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Return the mean [K, D] of the features [N, D] of each class, 0 for one without images."""
    sums = support.new_zeros(n_classes, support.shape[1]).index_add(0, labels, support)
    counts = class_counts(labels, n_classes).clamp(min=1)
    return sums / counts[:, None]


def shrunken_precision(centred: Tensor) -> Tensor:
    """Return P [D, D], the inverse covariance of features [N, D] with means of 0, shrunk.

    Without any deviation, as with one view of one image per class, P is 0.
    """
    n, d = centred.shape
    scatter = centred.T @ centred
    # (N - 1) S is the scatter matrix; a covariance of one sample is counted as 0
    scatter.diagonal().add_(scatter.trace() / max(n - 1, 1))
    return d * torch.linalg.pinv(scatter, hermitian=True)


def discriminant(support: Tensor, labels: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Return the weights P mu_k [K, D] and biases -mu_k' P mu_k / 2 [K], worked out in float64.

    Args:
        support: G [N, D], normalised; each view of an image is a sample.
        labels: [N], int64.
        n_classes: K.
    """
    features = support.double()
    means = class_means(features, labels, n_classes)
    weight = means @ shrunken_precision(features - means[labels])
    bias = -(weight * means).sum(1) / 2
    return weight.to(support.dtype), bias.to(support.dtype)
