"""A linear probe (CLIP, arXiv 2103.00020, section 3.2): logistic regression on global features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

MAX_ITERATIONS = 1000


def fit(global_features: Tensor, labels: Tensor, C: float) -> tuple[Tensor, Tensor]:
    """Fit a logistic regression by L-BFGS.

    Args:
        global_features: g [N, D], any length; they are normalised.
        labels: [N], int64, every class 0 to K - 1 at least once, K at least 2.
        C: inverse strength of the L2 penalty, as in scikit-learn.

    Returns:
        Weights [K, D] and biases [K], float32, on the CPU: logits are `g W^T + b`.
    """
    # half a second to import, which no other method should wait for
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, solver="lbfgs", max_iter=MAX_ITERATIONS)
    model.fit(F.normalize(global_features, dim=-1).cpu().numpy(), labels.cpu().numpy())
    weight, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(weight) == 1:
        # of two classes scikit-learn keeps the difference alone
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()
