"""Sums of parts against the sum computed at once."""

from __future__ import annotations

import pytest
import torch

from vtclip.parts import sum_of_parts


def test_the_sum_and_its_gradients_are_those_of_the_whole() -> None:
    torch.manual_seed(0)
    root = torch.randn(3, requires_grad=True)
    weight, unused = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    shared = root.exp()
    parts = [lambda x, i=i: (x * weight).sum() * i + (x * x).sum() for i in (1, 2, 3)]
    total = sum_of_parts(parts, shared, [weight, unused])
    whole = sum(part(shared) for part in parts)
    torch.testing.assert_close(total, whole)
    ours = torch.autograd.grad(2 * total, (root, weight), retain_graph=True)
    for gradient, expected in zip(
        ours, torch.autograd.grad(2 * whole, (root, weight)), strict=True
    ):
        torch.testing.assert_close(gradient, expected)


def test_a_shared_tensor_may_be_a_constant() -> None:
    weight = torch.ones(2, requires_grad=True)
    total = sum_of_parts([lambda x: (x * weight).sum()], torch.tensor([2.0, 3.0]), [weight])
    total.backward()
    assert weight.grad.tolist() == [2.0, 3.0]


def test_gradients_that_were_there_stay_even_when_a_part_fails() -> None:
    weight = torch.ones(2, requires_grad=True)
    weight.grad = torch.tensor([5.0, 6.0])
    kept = weight.grad

    def fail(x: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError

    sum_of_parts([lambda x: weight.sum()], torch.zeros(1), [weight])
    assert weight.grad is kept
    with pytest.raises(ArithmeticError):
        sum_of_parts([lambda x: weight.sum(), fail], torch.zeros(1), [weight])
    assert weight.grad is kept
    assert kept.tolist() == [5.0, 6.0]
