"""Uses of the head beyond one backward pass: as on the plain module, or refused in one line."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from vtclip.layers import VisualGuidedAttention, visual_guided_logits

from ..gradients import gradients
from .reference import ORDERS, force_order, randomise

B, K, S, D, HEADS, SCALE = 3, 5, 7, 8, 2, 10.0
LABELS = torch.tensor([4, 0, 2])

both = pytest.mark.parametrize("fast", [True, False])


def build(fast: bool, **switches: object) -> VisualGuidedAttention:
    torch.manual_seed(0)
    head = VisualGuidedAttention(D, num_heads=HEADS, ffn_ratio=2, fast=fast, **switches).double()
    randomise(head)
    return head


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Return text [K, D], global [B, D] and spatial features [B, S, D]."""
    torch.manual_seed(1)
    return tuple(torch.randn(*shape).double() for shape in ((K, D), (B, D), (B, S, D)))


def loss_of(head: VisualGuidedAttention, text: Tensor, images: Tensor, spatial: Tensor) -> Tensor:
    return F.cross_entropy(head.logits(text, images, spatial, SCALE), LABELS)


def on_both(function: Callable[[VisualGuidedAttention], object]) -> None:
    """Check that a function of the head has the same value for the fast and the plain one."""
    torch.testing.assert_close(function(build(True)), function(build(False)))


@pytest.mark.parametrize("max_pairs", [0, 2, K])
def test_a_second_backward_pass(max_pairs: int) -> None:
    def twice(head: VisualGuidedAttention) -> list[Tensor]:
        loss, _ = head.cross_entropy(inputs()[0], *inputs()[1:], LABELS, SCALE, max_pairs=max_pairs)
        loss.backward(retain_graph=True)
        first = [p.grad.clone() for p in head.parameters() if p.grad is not None]
        loss.backward()
        second = [p.grad for p in head.parameters() if p.grad is not None]
        torch.testing.assert_close(second, [2 * gradient for gradient in first])
        return second

    on_both(lambda head: [g for g in twice(head) if g.abs().max() > 1e-12])


def penalty(head: VisualGuidedAttention) -> list[Tensor]:
    """Return the gradients of the squared gradient of the loss by the spatial features."""
    text, images, spatial = inputs()
    spatial.requires_grad_()
    (slope,) = torch.autograd.grad(loss_of(head, text, images, spatial), spatial, create_graph=True)
    return gradients(slope.square().sum(), head)


@pytest.mark.parametrize("order", [order for order in ORDERS if order != "plain"])
def test_create_graph_without_fused_attention(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    force_order(monkeypatch, order)
    fast, plain = (penalty(build(fast, self_attention=False)) for fast in (True, False))
    torch.testing.assert_close(fast, plain)
    assert any(gradient.abs().max() > 1e-3 for gradient in plain)


@pytest.mark.parametrize("max_pairs", [0, K])
def test_create_graph_with_it_is_refused_in_one_line(max_pairs: int) -> None:
    text, images, spatial = inputs()

    def slopes(fast: bool) -> list[Tensor]:
        head = build(fast)
        loss, _ = head.cross_entropy(text, images, spatial, LABELS, SCALE, max_pairs=max_pairs)
        layer = head.layers[0]
        weights = [layer.ffn.fc1.weight, layer.self_attention.v_proj.weight]
        return list(torch.autograd.grad(loss, weights, create_graph=True))

    with pytest.raises(RuntimeError, match=r"create_graph=True.*fast=False") as error:
        slopes(fast=True)
    assert "\n" not in str(error.value)
    assert all(slope.requires_grad for slope in slopes(fast=False))


@both
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("switches", [{}, {"norm": "pre", "num_layers": 2}])
def test_gradcheck_and_gradgradcheck(
    fast: bool, order: str, switches: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fast and order != "plain":
        pytest.skip("the plain path has one order")
    force_order(monkeypatch, order)
    head = build(fast, **switches)
    given = [tensor.requires_grad_() for tensor in inputs()]

    def logits(text: Tensor, images: Tensor, spatial: Tensor) -> Tensor:
        return head.logits(text, images, spatial, 1.0)

    assert torch.autograd.gradcheck(logits, given, fast_mode=True)
    try:
        assert torch.autograd.gradgradcheck(logits, given, fast_mode=True)
    except RuntimeError as error:
        # a part that has no second derivatives says so; a wrong one is another message
        assert fast
        assert "fast=False" in str(error)


@pytest.mark.parametrize("max_pairs", [0, K])
def test_func_grad_of_the_parameters(max_pairs: int) -> None:
    text, images, spatial = inputs()

    def slopes(head: VisualGuidedAttention) -> dict[str, Tensor]:
        class Loss(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = head

            def forward(self) -> Tensor:
                return self.head.cross_entropy(
                    text, images, spatial, LABELS, SCALE, max_pairs=max_pairs
                )[0]

        module = Loss()
        found = torch.func.grad(lambda p: functional_call(module, p, ()))(
            dict(module.named_parameters())
        )
        expected = gradients(loss_of(head, text, images, spatial), head)
        torch.testing.assert_close(list(found.values()), expected)
        return found

    on_both(slopes)


@both
def test_vjp_and_jvp_agree_with_backward(fast: bool) -> None:
    head, (text, images, spatial) = build(fast), inputs()
    tangent, upstream = torch.randn_like(spatial), torch.randn(B, K).double()

    def logits(spatial: Tensor) -> Tensor:
        return visual_guided_logits(images, head(text, spatial), SCALE)

    leaf = spatial.clone().requires_grad_()
    (expected,) = torch.autograd.grad(logits(leaf), leaf, upstream)
    value, pull = torch.func.vjp(logits, spatial)
    torch.testing.assert_close(value, logits(spatial))
    torch.testing.assert_close(pull(upstream)[0], expected)
    _, pushed = torch.func.jvp(logits, (spatial,), (tangent,))
    with forward_ad.dual_level():
        dual_tangent = forward_ad.unpack_dual(
            logits(forward_ad.make_dual(spatial, tangent))
        ).tangent
    for forward in (pushed, dual_tangent):
        torch.testing.assert_close((forward * upstream).sum(), (expected * tangent).sum())


@both
def test_vmap_over_sets_of_spatial_features(fast: bool) -> None:
    head, (text, images, spatial) = build(fast), inputs()
    many = torch.stack([spatial, 2 * spatial.flip(0), spatial.roll(1, 2)])
    found = torch.vmap(lambda x: head.logits(text, images, x, SCALE, max_pairs=K))(many)
    expected = torch.stack([head.logits(text, images, x, SCALE) for x in many])
    torch.testing.assert_close(found, expected)


@both
def test_vmap_over_heads(fast: bool) -> None:
    heads = [build(fast), build(fast)]
    randomise(heads[1])
    parameters, buffers = stack_module_state(heads)
    text, _, spatial = inputs()
    found = torch.vmap(
        lambda p, b: functional_call(heads[0], (p, b), (text, spatial)), randomness="different"
    )(parameters, buffers)
    torch.testing.assert_close(found, torch.stack([head(text, spatial) for head in heads]))


@both
def test_a_batch_of_backward_passes(fast: bool) -> None:
    head, (text, images, spatial) = build(fast), inputs()
    logits = head.logits(text, images, spatial, SCALE)
    weight = head.layers[0].ffn.fc1.weight
    upstream = torch.randn(4, B, K).double()
    expected = [torch.autograd.grad(logits, weight, u, retain_graph=True)[0] for u in upstream]
    (found,) = torch.autograd.grad(logits, weight, upstream, is_grads_batched=True)
    torch.testing.assert_close(found, torch.stack(expected))


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("max_pairs", [0, K])
def test_half_precision_features(fast: bool, dtype: torch.dtype, max_pairs: int) -> None:
    head = build(fast).float()
    rounded = [tensor.to(dtype) for tensor in inputs()]
    exact = [tensor.float() for tensor in rounded]
    found, logits = head.cross_entropy(*rounded, LABELS, SCALE, max_pairs=max_pairs)
    expected, expected_logits = head.cross_entropy(*exact, LABELS, SCALE, max_pairs=max_pairs)
    assert found.equal(expected)
    assert logits.equal(expected_logits)
    assert head(rounded[0], rounded[2]).equal(head(exact[0], exact[2]))
    for gradient, reference in zip(gradients(found, head), gradients(expected, head), strict=True):
        assert gradient.equal(reference)


@both
def test_a_head_in_half_precision_takes_features_of_any_type(fast: bool) -> None:
    head = build(fast)
    text, images, spatial = inputs()
    exact = head.logits(text, images, spatial, 1.0)
    rounded = copy.deepcopy(head).bfloat16().logits(text, images, spatial, 1.0)
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0, check_dtype=False)


@pytest.mark.parametrize("max_pairs", [0, K])
def test_compile(max_pairs: int) -> None:
    head = build(True)
    text, images, spatial = inputs()

    def loss(head: VisualGuidedAttention) -> Tensor:
        return head.cross_entropy(text, images, spatial, LABELS, SCALE, max_pairs=max_pairs)[0]

    expected = loss(head)
    found = torch.compile(loss, backend="aot_eager")(head)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, head), gradients(expected, head))


def test_deepcopy_and_pickle_keep_the_switch() -> None:
    assert not copy.deepcopy(build(False)).layers[0].ffn.fast
