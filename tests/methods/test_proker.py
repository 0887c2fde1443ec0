"""ProKeR against its formula, element by element in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from vtclip.methods.proker import correction, held_out, kernel, residuals


@pytest.fixture
def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    support, texts = (F.normalize(torch.randn(n, 5, generator=draw), dim=1) for n in (9, 3))
    return support, torch.arange(9) % 3, texts


def test_kernel_and_residuals_are_the_formulas(drawn):
    support, labels, texts = drawn
    k, r = kernel(support, texts, 2.6), residuals(support, labels, texts)
    for i in range(9):
        for j in range(3):
            cosine = sum(float(a) * float(b) for a, b in zip(support[i], texts[j], strict=True))
            assert float(k[i, j]) == pytest.approx(math.exp(-2.6 * (1 - cosine)), rel=1e-5)
            assert float(r[i, j]) == pytest.approx(int(labels[i] == j) - cosine, abs=1e-6)


@pytest.mark.parametrize(("beta", "lam"), [(0.1, 10.0), (3.0, 0.05), (20.0, 0.001)])
def test_the_correction_is_the_inverse_times_the_residuals(drawn, beta: float, lam: float):
    support, labels, texts = drawn
    support, residual = support.double(), residuals(support, labels, texts).double()
    gram = torch.exp(-beta * (1 - support @ support.T))
    expected = torch.linalg.inv(gram / lam + torch.eye(9).double()) @ residual
    torch.testing.assert_close(correction(support, residual, beta, lam), expected)


def test_one_support_image_by_hand():
    one, texts = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    residual = residuals(one, torch.tensor([0]), texts)
    torch.testing.assert_close(residual, torch.tensor([[0.4, 0.0]]))
    # k(G, G) is 1: A = R / (1 / lam + 1)
    torch.testing.assert_close(correction(one, residual, 1.5, 0.25), residual / 5)


def test_lam_is_the_strength(drawn):
    support, labels, texts = drawn
    residual = residuals(support, labels, texts)
    assert correction(support, residual, 3.0, 1e-9).abs().max() < 1e-8
    torch.testing.assert_close(correction(support, residual, 3.0, 1e9), residual)


@pytest.mark.parametrize(("beta", "lam"), [(0.1, 10.0), (3.0, 0.05), (20.0, 0.001)])
def test_held_out_is_a_fit_without_the_image(drawn, beta: float, lam: float):
    support, labels, texts = drawn
    support = support.double()
    residual = residuals(support, labels, texts.double())
    found = held_out(support, residual, beta, lam)
    for i in range(9):
        others = [j for j in range(9) if j != i]
        without = correction(support[others], residual[others], beta, lam)
        expected = kernel(support[i : i + 1], support[others], beta) @ without
        torch.testing.assert_close(found[i : i + 1], expected)
