"""The cosine with a backward pass of its own, against its formula."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vtclip.layers.fast_cosine import fast_cosine

B, K, D = 3, 5, 8


def inputs() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    texts = torch.randn(B, K, D, dtype=torch.float64, requires_grad=True)
    images = F.normalize(torch.randn(B, D, dtype=torch.float64), dim=-1).requires_grad_()
    return texts, images


def test_values_and_gradients_are_those_of_the_formula() -> None:
    texts, images = inputs()
    expected = (F.normalize(texts, dim=-1) * images.unsqueeze(1)).sum(-1)
    found, upstream = fast_cosine(texts, images), torch.randn(B, K).double()
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected, (texts, images), upstream)
    for gradient, reference in zip(
        torch.autograd.grad(found, (texts, images), upstream), wanted, strict=True
    ):
        torch.testing.assert_close(gradient, reference)


def test_first_and_second_derivatives_are_those_of_differences() -> None:
    assert torch.autograd.gradcheck(fast_cosine, inputs())
    assert torch.autograd.gradgradcheck(fast_cosine, inputs())


def test_a_vector_of_no_length_has_cosine_zero() -> None:
    _, images = inputs()
    assert fast_cosine(torch.zeros(B, K, D).double(), images).eq(0).all()
