from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

from vtclip.methods.linear_probe import bisect_strength, fit


def drawn(n_images: int, n_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return features [N, 5] of length 2 or so, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n_images) % n_classes
    return torch.randn(n_images, 5, generator=generator) + 2 * F.one_hot(labels, 5), labels


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_optimum_is_that_of_scikit_learn(n_classes: int) -> None:
    g, labels = drawn(30, n_classes, seed=0)
    weight, bias = fit(g, labels, 10.0)
    assert weight.shape == (n_classes, 5)
    assert weight.dtype == bias.dtype == torch.float64
    unchanged = g.double().numpy()
    model = LogisticRegression(C=10.0, max_iter=1000).fit(unchanged, labels.numpy())
    found = F.linear(g.double(), weight, bias)
    np.testing.assert_allclose(found.softmax(-1), model.predict_proba(unchanged), atol=1e-12)
    assert found.argmax(-1).tolist() == model.predict(unchanged).tolist()
    if n_classes > 2:
        np.testing.assert_array_equal(weight, model.coef_)
        np.testing.assert_array_equal(bias, model.intercept_)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_gradient_of_the_penalised_loss_vanishes(n_classes: int) -> None:
    """C sums cross-entropies beside half the squared weights; biases are free."""
    g, labels = drawn(40, n_classes, seed=1)
    weight, bias = (part.requires_grad_() for part in fit(g, labels, 0.5))
    # of two classes scikit-learn penalises the difference alone: w / 2 and -w / 2
    penalty = 0.5 * weight.square().sum() * (2 if n_classes == 2 else 1)
    loss = 0.5 * F.cross_entropy(F.linear(g.double(), weight, bias), labels, reduction="sum")
    gradients = torch.autograd.grad(loss + penalty, (weight, bias))
    assert max(float(gradient.abs().max()) for gradient in gradients) < 0.005


@pytest.mark.filterwarnings("error")
def test_one_image_per_class_is_no_cause_for_a_warning() -> None:
    g, labels = torch.eye(21), torch.arange(21)
    weight, bias = fit(g, labels, 1e3)
    assert F.linear(g.double(), weight, bias).argmax(1).tolist() == labels.tolist()


def replayed(accuracy: Any, steps: int = 8) -> tuple[list[float], float]:
    """Take the steps of CoOp's search on C itself; returns all values and the one taken."""
    coarse = [1e6, 1e4, 1e2, 1.0, 1e-2, 1e-4, 1e-6]
    peak = coarse[int(np.argmax([accuracy(C) for C in coarse]))]
    low, high, tried = peak / 10, peak * 10, list(coarse)
    for _ in range(steps):
        tried += [low, high]
        middle = float(np.sqrt(low * high))
        if accuracy(low) < accuracy(high):
            chosen, low = high, middle
        else:
            chosen, high = low, middle
    return tried, chosen


@pytest.mark.parametrize(
    ("accuracy", "chosen"),
    [
        (lambda C: 50.0, 1e5),  # nothing to tell apart: the first, then always the lower end
        (lambda C: -abs(np.log10(C) - 0.3), None),
        (lambda C: -abs(np.log10(C) + 6.8), None),
        # of the interval 0.1 to 10 only the upper end is as good as the peak inside it
        (lambda C: float(0.9 < C < 11), 1.0),
        (lambda C: C, 1e7),  # beyond the coarse values
    ],
)
def test_steps_of_the_search(accuracy: Any, chosen: float | None) -> None:
    found = bisect_strength(accuracy)
    tried, expected = replayed(accuracy)
    assert found.chosen == pytest.approx(expected, rel=1e-12)
    assert chosen is None or found.chosen == pytest.approx(chosen, rel=1e-12)
    assert found.accuracy == pytest.approx(accuracy(found.chosen))
    # each value once, in their order; one end of each step is that of the step before, and the
    # middle of the first interval is the peak
    assert len(found.tried) == len(set(found.tried)) == 15
    in_order = list(dict.fromkeys(float(f"{C:.9g}") for C in tried))
    assert found.tried == pytest.approx(in_order, rel=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_same_choice_and_predictions_as_their_steps_on_scikit_learn(seed: int) -> None:
    """On noisy images, so that accuracies differ between the values of C."""
    n_classes = 4
    g, labels = drawn(16, n_classes, seed)
    val, val_labels = drawn(40, n_classes, seed + 100)
    test, _ = drawn(200, n_classes, seed + 200)

    def model(C: float) -> LogisticRegression:
        return LogisticRegression(solver="lbfgs", max_iter=1000, C=C).fit(
            g.double().numpy(), labels.numpy()
        )

    tried, chosen = replayed(
        lambda C: float(np.mean(model(C).predict(val.double().numpy()) == val_labels.numpy()))
    )
    found = bisect_strength(
        lambda C: float(
            (F.linear(val.double(), *fit(g, labels, C)).argmax(1) == val_labels).double().mean()
        )
    )
    assert found.chosen == pytest.approx(chosen, rel=1e-12)
    assert set(np.round(np.log10(found.tried), 9)) == set(np.round(np.log10(tried), 9))
    ours = F.linear(test.double(), *fit(g, labels, found.chosen)).argmax(1)
    assert ours.tolist() == model(chosen).predict(test.double().numpy()).tolist()
