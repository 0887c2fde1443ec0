"""TaskRes against its formula in double precision."""

from __future__ import annotations

import pytest
import torch

from vtclip.methods.task_res import TextResidual
from vtclip.methods.zero_shot import cosine_logits


def test_class_vectors_by_hand() -> None:
    learner = TextResidual(torch.tensor([[3.0, 4.0], [0.0, 10.0]]), scale=0.5)
    learner.residual.data = torch.tensor([[6.0, 0.0], [0.0, 0.0]])
    assert learner().tolist() == [[6.0, 4.0], [0.0, 10.0]]
    # cos((1, 0), (6, 4)) is 6 / sqrt(52)
    logits = cosine_logits(torch.tensor([[2.0, 0.0]]), learner(), 100.0)
    assert logits[0].tolist() == pytest.approx([100 * 6 / 52**0.5, 0.0])


def test_only_the_residual_is_trained_and_saved() -> None:
    learner = TextResidual(torch.ones(2, 3), scale=0.5)
    assert [name for name, _ in learner.named_parameters()] == ["residual"]
    assert sorted(learner.state_dict()) == ["residual", "texts"]
    assert learner().equal(torch.ones(2, 3))


def test_the_gradient_is_that_of_the_formula() -> None:
    draw = torch.Generator().manual_seed(0)
    texts, g = (torch.randn(n, 5, generator=draw, dtype=torch.float64) for n in (3, 4))
    learner = TextResidual(10 * texts, scale=0.5)
    learner.residual.data = torch.randn(3, 5, generator=draw, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 1])
    cosine_logits(g, learner(), 20.0).log_softmax(1)[range(4), labels].mean().neg().backward()
    x = learner.residual.detach()
    by_hand = torch.zeros_like(x)
    w = 10 * texts + 0.5 * x
    u = g / g.norm(dim=1, keepdim=True)
    p = (20 * u @ (w / w.norm(dim=1, keepdim=True)).T).softmax(1)
    for k in range(3):
        length = w[k].norm()
        for i in range(4):
            cosine = u[i] @ w[k] / length
            # of s cos(g, w): s (u - cos w / |w|) / |w|, and a for x in place of w
            slope = 20 * (u[i] - cosine * w[k] / length) / length
            by_hand[k] += 0.5 * (p[i, k] - float(labels[i] == k)) * slope / 4
    torch.testing.assert_close(learner.residual.grad, by_hand)
