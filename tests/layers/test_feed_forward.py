"""The feed-forward part, plain and in blocks, against plain modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vtclip.layers import FeedForward
from vtclip.layers.blocked_feed_forward import ROWS


@pytest.mark.parametrize("shape", [(6,), (0, 6), (3, 6), (ROWS, 6), (2, ROWS + 5, 6)])
@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("fast", [True, False])
def test_values_and_gradients_are_those_of_plain_modules(
    shape: tuple[int, ...], contiguous: bool, fast: bool
) -> None:
    torch.manual_seed(0)
    ours = FeedForward(6, 4, fast=fast).double()
    plain = nn.Sequential(ours.fc1, nn.ReLU(), ours.fc2)
    x = torch.randn(*shape[:-1], 2 * shape[-1], dtype=torch.float64)[..., ::2].requires_grad_()
    x = x.detach().contiguous().requires_grad_() if contiguous else x
    expected, found = plain(x), ours(x)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(torch.cat([expected, expected], -1))[..., ::2]
    wanted = torch.autograd.grad(expected, (x, *ours.parameters()), upstream)
    for gradient, reference in zip(
        torch.autograd.grad(found, (x, *ours.parameters()), upstream), wanted, strict=True
    ):
        torch.testing.assert_close(gradient, reference)


def test_autocast_leaves_doubles_alone() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert FeedForward(6, 4).double()(torch.randn(3, 6).double()).dtype == torch.float64
        assert FeedForward(6, 4)(torch.randn(3, 6)).dtype == torch.bfloat16


def test_dropout_takes_the_plain_path_and_repeats_with_its_seed() -> None:
    found = []
    for fast in (True, False):
        torch.manual_seed(0)
        part = FeedForward(6, 4, dropout=0.5, fast=fast)
        found.append(part(torch.ones(3, 6)))
        assert not part(torch.ones(3, 6)).equal(found[-1])
    assert found[0].equal(found[1])


def test_a_second_backward_pass_has_the_gradients_of_the_first() -> None:
    part = FeedForward(6, 4)
    x, upstream = torch.randn(ROWS + 5, 6, requires_grad=True), torch.randn(ROWS + 5, 6)
    y = part(x)
    inputs = (x, *part.parameters())
    first = torch.autograd.grad(y, inputs, upstream, retain_graph=True)
    for factor in (1.0, -2.0):
        again = torch.autograd.grad(y, inputs, factor * upstream, retain_graph=True)
        for gradient, expected in zip(again, first, strict=True):
            torch.testing.assert_close(gradient, factor * expected)


def test_another_type_than_the_weights_is_torchs_own_error() -> None:
    with pytest.raises(RuntimeError, match="must have the same dtype"):
        FeedForward(6, 4)(torch.randn(3, 6).half())
