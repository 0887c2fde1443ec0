from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from vtclip.methods.linear_probe import fit


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(n_classes: int) -> None:
    torch.manual_seed(0)
    labels = torch.arange(30) % n_classes
    g = torch.randn(30, 5) + 2 * F.one_hot(labels, 5)
    weight, bias = fit(g, labels, 10.0)
    assert weight.shape == (n_classes, 5)
    unit = F.normalize(g, dim=-1)
    model = LogisticRegression(C=10.0, max_iter=1000).fit(unit.numpy(), labels.numpy())
    found = F.linear(unit, weight, bias).softmax(-1).numpy()
    np.testing.assert_allclose(found, model.predict_proba(unit.numpy()), atol=1e-5)
