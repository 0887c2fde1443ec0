"""The feed-forward part by blocks, against plain modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vtclip.feed_forward import ROWS, FeedForward


@pytest.mark.parametrize("shape", [(6,), (0, 6), (3, 6), (ROWS, 6), (2, ROWS + 5, 6)])
@pytest.mark.parametrize("contiguous", [True, False])
def test_values_and_gradients_are_those_of_plain_modules(
    shape: tuple[int, ...], contiguous: bool
) -> None:
    torch.manual_seed(0)
    ours = FeedForward(6, 4).double()
    plain = nn.Sequential(ours.inner, nn.ReLU(), ours.output)
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


def test_a_second_backward_pass_is_an_error_and_no_wrong_number() -> None:
    x = torch.randn(3, 6, requires_grad=True)
    y = FeedForward(6, 4)(x).sum()
    y.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
