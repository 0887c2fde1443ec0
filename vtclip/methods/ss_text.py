"""SS-Text (Silva-Rodriguez et al., MICCAI 2025): texts moved by the images of their class."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from vtclip.methods.class_counts import class_counts


def class_weights(text_features: Tensor, support: Tensor, labels: Tensor, scale: float) -> Tensor:
    """Return t_k + s / (N lam_k) * (sum of the class's g), with lam_k = 1 / n_k.

    Args:
        text_features: T [K, D], normalised.
        support: G [N, D], normalised global features of the support images.
        labels: [N], int64.
        scale: s, CLIP's exponentiated logit scale.

    Returns:
        [K, D], of any length: the logits are cosines.
    """
    sums = text_features.new_zeros(text_features.shape).index_add(0, labels, support)
    counts = class_counts(labels, len(text_features)).to(sums.dtype)
    return text_features + scale / len(labels) * counts[:, None] * sums


def repelled(weights: Tensor) -> Tensor:
    """Return W - d / |d| with d_k = 2 W_k - the mean of W over classes, of weights [K, D].

    The step that the authors' program (solvers/sstext.py of jusiro/SS-Text) adds for SS-Text+.
    """
    return weights - F.normalize(2 * weights - weights.mean(0), dim=-1)
