"""LP++ against its formulas and against automatic differentiation, in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vtclip.methods.lp_plus_plus import Descent, alpha_rate, starting_state, weight_rate

LABELS = torch.tensor([0, 1, 2, 2, 1, 2, 0, 2, 1])


@pytest.fixture(params=[5, 20], ids=["more images than features", "fewer"])
def drawn(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    shape = {"generator": draw, "dtype": torch.float64}
    support, texts = (F.normalize(torch.randn(n, request.param, **shape), dim=1) for n in (9, 3))
    return support, texts


def test_start_by_hand() -> None:
    support = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    state = starting_state(support, torch.tensor([0, 1, 1]), texts)
    assert state.weight.tolist() == [[1.0, 0.0], pytest.approx([0.6, 1.8])]
    assert state.bias.tolist() == [0.0, 0.0]
    # means of t_k . g: 1 of class 0, 0.9 of class 1; a is 250 times 0.95
    assert state.alpha.tolist() == pytest.approx([237.5, 237.5])
    logits = state.logits(torch.tensor([[0.6, 0.8]]), texts)
    assert logits[0].tolist() == pytest.approx([0.6 + 0.6 * 237.5, 1.8 + 0.8 * 237.5])


def test_rates_are_the_formulas(drawn: tuple[Tensor, Tensor]) -> None:
    support, texts = drawn
    largest = torch.linalg.svdvals(support)[0] ** 2
    assert weight_rate(support) == pytest.approx(4 * 9 / float(largest))
    sums = [sum(float(texts[k] @ g) ** 2 for g in support) for k in range(3)]
    assert alpha_rate(support, texts) == pytest.approx(9 / (4 * max(sums)))


def test_steps_are_those_of_the_gradient(drawn: tuple[Tensor, Tensor]) -> None:
    support, texts = drawn
    start = starting_state(support, LABELS, texts)
    w, b, a = (part.clone().requires_grad_() for part in vars(start).values())
    optimizer = torch.optim.SGD([w, b], lr=weight_rate(support), momentum=0.9)
    descent = Descent(support, LABELS, texts)
    for epoch in range(1, 32):
        loss = F.cross_entropy(support @ w.T + b + a * (support @ texts.T), LABELS)
        for part in (w, b, a):
            part.grad = None
        loss.backward()
        optimizer.step()
        if epoch % 10 == 0:
            a.data -= alpha_rate(support, texts) * a.grad
        state = descent.at(epoch)
        for ours, theirs in zip(vars(state).values(), (w, b, a), strict=True):
            torch.testing.assert_close(ours, theirs.detach())
    assert (a - start.alpha).abs().max() > 1e-3
    assert (w - start.weight).abs().max() > 0.1


def test_an_earlier_epoch_is_what_it_was(drawn: tuple[Tensor, Tensor]) -> None:
    descent = Descent(drawn[0], LABELS, drawn[1])
    seventh = descent.at(7)
    descent.at(25)
    again = descent.at(7)
    assert all(
        x.equal(y) for x, y in zip(vars(seventh).values(), vars(again).values(), strict=True)
    )
    assert descent.at(0).weight.equal(starting_state(drawn[0], LABELS, drawn[1]).weight)
