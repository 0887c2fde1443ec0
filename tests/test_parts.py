"""Sums of parts against the sum computed at once."""

from __future__ import annotations

import torch

from vtclip.parts import sum_of_parts


def test_the_sum_and_its_gradients_are_those_of_the_whole() -> None:
    torch.manual_seed(0)
    root = torch.randn(3, requires_grad=True)
    weight, unused = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    shared = [root.exp(), root.sin()]
    parts = [lambda x, y, i=i: ((x * weight).sum() * i + (x * y).sum(), x * i) for i in (1, 2, 3)]
    total, kept = sum_of_parts(parts, shared, [weight, unused])
    whole = sum(part(*shared)[0] for part in parts)
    assert all(extra.allclose(shared[0] * i) for i, extra in enumerate(kept, 1))
    torch.testing.assert_close(total, whole)
    ours = torch.autograd.grad(2 * total, (root, weight), retain_graph=True)
    for gradient, expected in zip(
        ours, torch.autograd.grad(2 * whole, (root, weight)), strict=True
    ):
        torch.testing.assert_close(gradient, expected)


def test_a_shared_tensor_may_be_a_constant() -> None:
    weight = torch.ones(2, requires_grad=True)
    total, _ = sum_of_parts(
        [lambda x: ((x * weight).sum(), x)], [torch.tensor([2.0, 3.0])], [weight]
    )
    total.backward()
    assert weight.grad.tolist() == [2.0, 3.0]


def test_nothing_is_handed_out_before_the_backward_pass() -> None:
    weight = torch.ones(2, requires_grad=True)
    weight.grad = torch.tensor([5.0, 6.0])
    total, _ = sum_of_parts([lambda x: (weight.sum(), x)] * 2, [torch.zeros(1)], [weight])
    assert weight.grad.tolist() == [5.0, 6.0]
    (3 * total).backward()
    assert weight.grad.tolist() == [11.0, 12.0]
