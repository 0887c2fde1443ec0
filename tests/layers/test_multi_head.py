"""Multi-head attention and its weights against torch.nn.MultiheadAttention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vtclip.layers import MultiHeadAttention
from vtclip.layers.product_order import Order

from .reference import ORDERS, force_order, randomise, reference_attention

B, K, S, D, C, HEADS = 3, 5, 7, 16, 24, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("order", "shared"), [*((o, True) for o in ORDERS), ("plain", False)])
@pytest.mark.parametrize("memory_dim", [D, C])
def test_every_order_of_products_equals_torchs_attention(
    order: Order, shared: bool, memory_dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_order(monkeypatch, order)
    attention = MultiHeadAttention(D, memory_dim, HEADS)
    randomise(attention)
    queries = torch.randn(1 if shared else B, K, D, requires_grad=True)
    memory = torch.randn(B, S, memory_dim, requires_grad=True)
    upstream = torch.randn(B, K, D)
    theirs = reference_attention(attention, D, memory_dim)
    expected = theirs(queries.expand(B, -1, -1), memory, memory)[0]
    mixed = attention(queries, memory)
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)

    wanted = torch.autograd.grad(expected, (queries, memory, *theirs.parameters()), upstream)
    mine = torch.autograd.grad(
        mixed, (queries, memory, *attention.parameters()), upstream, allow_unused=True
    )
    # absorbing leaves out the bias of the keys, whose gradient is 0
    named = dict(zip([n for n, _ in attention.named_parameters()], mine[2:], strict=True))
    named = {name: torch.zeros(D) if g is None else g for name, g in named.items()}
    ours = [*mine[:2], *_like_torchs(named, memory_dim)]
    for gradient, reference in zip(ours, wanted, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-5, rtol=1e-4)


def _like_torchs(named: dict[str, Tensor], memory_dim: int) -> list[Tensor]:
    """Put gradients by our names into the order of torch's parameters."""
    weights = [named[f"{part}.weight"] for part in ("q_proj", "k_proj", "v_proj")]
    biases = torch.cat([named[f"{part}.bias"] for part in ("q_proj", "k_proj", "v_proj")])
    joined = [torch.cat(weights)] if memory_dim == D else weights
    return [*joined, biases, named["out_proj.weight"], named["out_proj.bias"]]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("memory_dim", [D, C])
def test_the_weights_are_those_of_torchs_attention(
    fast: bool, shared: bool, memory_dim: int
) -> None:
    attention = MultiHeadAttention(D, memory_dim, HEADS, fast=fast)
    randomise(attention)
    queries, memory = torch.randn(1 if shared else B, K, D), torch.randn(B, S, memory_dim)
    q = attention.q_proj(queries)
    weights = attention.attention_weights(q, memory)
    assert weights.shape == (B, HEADS, K, S)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, HEADS, K))
    theirs = reference_attention(attention, D, memory_dim)
    arguments = (queries.expand(B, -1, -1), memory, memory)
    _, expected = theirs(*arguments, average_attn_weights=False)
    torch.testing.assert_close(weights, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(weights.mean(1), theirs(*arguments)[1], atol=1e-6, rtol=1e-5)
    # and they reproduce the output
    values = attention.v_proj(memory).unflatten(-1, (HEADS, -1)).transpose(1, 2)
    mixed = (weights @ values).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention.out_proj(mixed), attention(queries, memory))


def test_weights_are_in_fp32_under_autocast() -> None:
    attention = MultiHeadAttention(D, D, HEADS)
    q, memory = torch.randn(1, K, D), torch.randn(B, S, D)
    exact = attention.attention_weights(q, memory)
    with torch.autocast("cpu", torch.bfloat16):
        weights = attention.attention_weights(q, memory)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, exact, atol=0.01, rtol=0)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, HEADS, K))


@pytest.mark.parametrize("order", ORDERS)
def test_fast_false_never_reorders(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    force_order(monkeypatch, order)
    fast, plain = (MultiHeadAttention(D, C, HEADS, fast=fast) for fast in (True, False))
    plain.load_state_dict(fast.state_dict())
    queries, memory = torch.randn(1, K, D), torch.randn(B, S, C)
    expected = plain(queries, memory)
    torch.testing.assert_close(fast(queries, memory), expected, atol=1e-5, rtol=1e-5)
    copied = plain(queries.expand(B, -1, -1), memory)
    assert copied.allclose(expected, atol=1e-6)
