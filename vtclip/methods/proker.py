"""ProKeR (Bendou et al., CVPR 2025): a kernel correction of zero-shot CLIP in closed form.

Kernel ridge regression of what zero-shot CLIP leaves unexplained: with support features G [N, D],
their one-hot labels Y [N, K] and text features T [K, D], all normalised, A [N, K] solves
(k(G, G) / lam + I) A = Y - G T', and an image g has the scores g T' + k(g, G) A.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# beta and lam by shots, found by the authors on ImageNet
FIXED = {1: (3.0, 0.05), 2: (2.6, 0.05), 4: (1.5, 0.05), 8: (1.66, 0.07), 16: (1.7, 0.1)}


def fixed_kernel(images_per_class: float) -> tuple[float, float]:
    """Return the authors' beta and lam without validation, of the nearest number of shots.

    Nearest by ratio, and of two the smaller, is assumed; the authors name 1 to 16 shots.

    >>> fixed_kernel(4), fixed_kernel(100)
    ((1.5, 0.05), (1.7, 0.1))
    """
    return FIXED[min(FIXED, key=lambda shots: abs(math.log(shots / images_per_class)))]


def kernel(x: Tensor, z: Tensor, beta: float | Tensor) -> Tensor:
    """Return exp(-beta (1 - x z')), [B, N], of normalised features [B, D] and [N, D]."""
    return torch.exp(-beta * (1 - x @ z.T))


def residuals(support: Tensor, labels: Tensor, text_features: Tensor) -> Tensor:
    """Return Y - G T', [N, K], of normalised features [N, D], labels [N] and texts [K, D]."""
    return F.one_hot(labels, len(text_features)) - support @ text_features.T


def held_out(support: Tensor, residual: Tensor, beta: float, lam: float) -> Tensor:
    """Return k(g_i, G) A of each support image, of an A that was solved without it, [N, K].

    In closed form: with H = K (K + lam I)^-1, the smoother of ridge regression, the residual of
    image i without itself is r_i = (R - H R)_i / (1 - H_ii), and the correction lam (R_i - r_i).

    Args:
        support, residual, beta, lam: as for :func:`correction`.
    """
    gram = kernel(support.double(), support.double(), beta)
    gram.diagonal().add_(lam)
    # I - H = lam (K + lam I)^-1; lam falls out of the quotient
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    target = residual.double()
    left = inverse @ target / inverse.diagonal()[:, None]
    return (lam * (target - left)).to(support.dtype)


def correction(support: Tensor, residual: Tensor, beta: float, lam: float) -> Tensor:
    """Return A [N, K], solved in double precision.

    Args:
        support: G [N, D], normalised.
        residual: R [N, K] of :func:`residuals`.
        beta: of the kernel, above 0.
        lam: strength of the correction, above 0; towards 0 the scores are zero-shot CLIP's.
    """
    gram = kernel(support.double(), support.double(), beta) / lam
    gram.diagonal().add_(1)
    # positive definite: the kernel is, and the identity is added
    factor = torch.linalg.cholesky(gram)
    return torch.cholesky_solve(residual.double(), factor).to(support.dtype)
