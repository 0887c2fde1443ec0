"""Visual-guided attention against torch.nn's own layers, and the promises of its start."""

from __future__ import annotations

import doctest
import itertools
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vtclip.layers import (
    DecoderLayer,
    VisualGuidedAttention,
    chunked_loss,
    visual_guided_attention,
    visual_guided_logits,
)
from vtclip.layers.product_order import Order

from ..gradients import gradients
from .reference import ORDERS, force_order, randomise, reference_attention

B, K, S, D, C, HEADS = 3, 5, 7, 16, 24, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def inputs(n_classes: int = K, spatial_dim: int = D) -> tuple[Tensor, Tensor, Tensor]:
    """Return text [K, D], global [B, D] and spatial features [B, S, C] of no particular length."""
    return torch.randn(n_classes, D), torch.randn(B, D), torch.randn(B, S, spatial_dim)


def reference_layer(ours: DecoderLayer, spatial_dim: int, x: Tensor, memory: Tensor) -> Tensor:
    """Run a decoder layer made of torch's modules and our weights, on texts [B, K, D]."""
    cross = reference_attention(ours.cross_attention, D, spatial_dim)
    parts = [(ours.cross_norm, lambda q: cross(q, memory, memory)[0])]
    if ours.self_attention is not None:
        among = reference_attention(ours.self_attention, D, D)
        parts.insert(0, (ours.self_norm, lambda q: among(q, q, q)[0]))
    if ours.ffn is not None:
        ffn = nn.Sequential(ours.ffn.fc1, nn.ReLU(), ours.ffn.fc2)
        parts.append((ours.ffn_norm, ffn))
    for norm, part in parts:
        x = x + part(norm(x)) if ours.norm == "pre" else norm(x + part(x))
    return x


def reference_texts(head: VisualGuidedAttention, text: Tensor, spatial: Tensor) -> Tensor:
    """Compute VT on texts copied for every image, layer by layer."""
    start = F.normalize(text, dim=-1).expand(len(spatial), -1, -1)
    memory = F.normalize(spatial, dim=-1)
    x = start
    for layer in head._decoder:
        x = reference_layer(layer, memory.shape[-1], x, memory)
    attended = x - start if head.norm == "pre" else x
    return start + head.residual_ratio * attended


SWITCHES = [
    {"norm": norm, "self_attention": among, "ffn_ratio": ratio, "num_layers": layers}
    for norm, among, ratio, layers in itertools.product(
        ["post", "pre"], [True, False], [0.0, 2.0, 4.0], [1, 2]
    )
]


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("spatial_dim", [D, C])
@pytest.mark.parametrize("n_classes", [2, 200])
@pytest.mark.parametrize("fast", [True, False])
def test_values_and_gradients_equal_a_plain_reference(
    switches: dict[str, object], spatial_dim: int, n_classes: int, fast: bool
) -> None:
    head = VisualGuidedAttention(
        D, spatial_dim, num_heads=HEADS, residual_ratio=0.7, fast=fast, **switches
    )
    randomise(head)
    text, global_features, spatial = inputs(n_classes, spatial_dim)
    ours = head(text, spatial)
    theirs = reference_texts(head, text, spatial)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)

    target = torch.arange(B) % n_classes
    trained = [p for p in head.parameters() if p.requires_grad]
    gradients = []
    for texts in (ours, theirs):
        loss = F.cross_entropy(visual_guided_logits(global_features, texts, 10.0), target)
        gradients.append(torch.autograd.grad(loss, trained, allow_unused=True))
    for mine, reference, (name, _) in zip(*gradients, head.named_parameters(), strict=False):
        if reference is not None:
            torch.testing.assert_close(mine, reference, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("fast", [True, False])
def test_a_layer_equals_torchs_transformer_decoder_layer(norm: str, fast: bool) -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS, norm=norm, fast=fast)
    randomise(head)
    (layer,) = head.layers
    theirs = nn.TransformerDecoderLayer(
        D, HEADS, 4 * D, dropout=0.0, batch_first=True, norm_first=norm == "pre"
    )
    theirs.self_attn = reference_attention(layer.self_attention, D, D)
    theirs.multihead_attn = reference_attention(layer.cross_attention, D, D)
    theirs.norm1, theirs.norm2, theirs.norm3 = layer.self_norm, layer.cross_norm, layer.ffn_norm
    theirs.linear1, theirs.linear2 = layer.ffn.fc1, layer.ffn.fc2
    text, _, spatial = inputs()
    start, memory = F.normalize(text, dim=-1).expand(B, -1, -1), F.normalize(spatial, dim=-1)
    expected = theirs(start, memory)
    torch.testing.assert_close(layer(start, memory), expected, atol=1e-5, rtol=1e-5)
    # pre-norm carries the texts through the layer already
    guided = expected if norm == "pre" else start + expected
    torch.testing.assert_close(head(text, spatial), guided, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("switches", SWITCHES)
def test_the_weights_of_the_last_layer_reproduce_the_texts(
    switches: dict[str, object], fast: bool
) -> None:
    head = VisualGuidedAttention(D, C, num_heads=HEADS, fast=fast, **switches)
    randomise(head)
    text, _, spatial = inputs(spatial_dim=C)
    guided, weights = head(text, spatial, need_weights=True)
    assert guided.equal(head(text, spatial))
    assert weights.shape == (B, HEADS, K, S)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, HEADS, K))

    last = head.layers[-1]
    values = last.cross_attention.v_proj(F.normalize(spatial, dim=-1))
    mixed = weights @ values.unflatten(-1, (HEADS, -1)).transpose(1, 2)
    attended = last.cross_attention.out_proj(mixed.transpose(1, 2).flatten(2))
    last.cross_attention.attend = lambda *_: attended
    torch.testing.assert_close(head(text, spatial), guided, atol=1e-5, rtol=1e-5)


def test_dropout_does_not_change_the_weights() -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS, dropout=0.5, self_attention=False)
    randomise(head)
    text, _, spatial = inputs()
    (first, weights), (second, again) = (head(text, spatial, need_weights=True) for _ in range(2))
    assert weights.equal(again)
    assert not first.equal(second)
    assert weights.equal(head.eval()(text, spatial, need_weights=True)[1])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("max_pairs", [0, 2, 2 * K])
@pytest.mark.parametrize("switches", [{}, {"norm": "pre", "num_layers": 2}, {"ffn_ratio": 0.0}])
def test_fast_equals_plain_in_values_and_gradients(
    order: Order, max_pairs: int, switches: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    force_order(monkeypatch, order)
    heads = [
        VisualGuidedAttention(D, C, num_heads=HEADS, fast=f, **switches) for f in (True, False)
    ]
    randomise(heads[0])
    heads[1].load_state_dict(heads[0].state_dict())
    given = [tensor.requires_grad_() for tensor in inputs(spatial_dim=C)]
    text, images, spatial = given
    offset, labels = torch.randn(B, K), torch.tensor([4, 0, 2])
    found = []
    for head in heads:
        arguments = (labels, 10.0)
        loss, logits = head.cross_entropy(
            *(x.detach() for x in given), *arguments, offset=offset, max_pairs=max_pairs
        )
        with_inputs, _ = head.cross_entropy(
            text, images, spatial, *arguments, offset=offset, max_pairs=max_pairs
        )
        of_inputs = torch.autograd.grad(with_inputs, given, retain_graph=True)
        own, too = gradients(loss, head), gradients(with_inputs, head)
        found.append([loss, logits, with_inputs, *own, *too, *of_inputs])
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


def test_a_seed_starts_fast_and_plain_alike() -> None:
    states = []
    for fast in (True, False):
        torch.manual_seed(3)
        states.append(VisualGuidedAttention(D, num_heads=HEADS, fast=fast).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(states[0][name].equal(states[1][name]) for name in states[0])


@pytest.mark.parametrize("module", [visual_guided_attention])
def test_the_examples_of_the_docstrings_run(module: ModuleType) -> None:
    failed, attempted = doctest.testmod(module)
    assert attempted >= 5
    assert not failed


def test_logits_equal_the_formula() -> None:
    _, global_features, _ = inputs()
    texts = torch.randn(B, K, D)
    logits = visual_guided_logits(global_features, texts, 100.0)
    for b, k in itertools.product(range(B), range(K)):
        expected = 100.0 * F.cosine_similarity(global_features[b], texts[b, k], dim=0)
        torch.testing.assert_close(logits[b, k], expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("switches", SWITCHES)
def test_the_start_is_zero_shot_clip(switches: dict[str, object]) -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS, **switches)
    text, global_features, spatial = inputs()
    logits = visual_guided_logits(global_features, head(text, spatial), 100.0)
    zero_shot = 100.0 * F.normalize(global_features, dim=-1) @ F.normalize(text, dim=-1).T
    torch.testing.assert_close(logits, zero_shot, atol=1e-5 * 100, rtol=0)


@pytest.mark.parametrize("switches", [*SWITCHES, {"residual_learnt": True}])
def test_three_steps_move_every_trainable_parameter(switches: dict[str, object]) -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS, **switches)
    text, global_features, spatial = inputs()
    before = {name: p.clone() for name, p in head.named_parameters() if p.requires_grad}
    optimiser = torch.optim.SGD(head.parameters(), lr=0.1)
    touched = set()
    for _ in range(3):
        optimiser.zero_grad()
        logits = visual_guided_logits(global_features, head(text, spatial), 10.0)
        F.cross_entropy(logits, torch.arange(B)).backward()
        touched |= {n for n, p in head.named_parameters() if p.grad is not None and p.grad.any()}
        optimiser.step()
    moved = {n for n, p in head.named_parameters() if n in before and not p.equal(before[n])}
    # softmax is blind to what a key bias adds to all its scores alike; only rounding moves it
    expected = {n for n in before if not n.endswith("attention.k_proj.bias")}
    assert expected <= touched
    assert expected <= moved


def test_order_of_locations_does_not_matter() -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS)
    randomise(head)
    text, _, spatial = inputs()
    shuffled = spatial[:, torch.randperm(S)]
    torch.testing.assert_close(head(text, shuffled), head(text, spatial), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("max_pairs", [1, 2, 5, 7, 100])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_chunks_give_the_same_logits_and_gradients(max_pairs: int, num_layers: int) -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS, num_layers=num_layers)
    randomise(head)
    text, global_features, spatial = inputs()
    results = []
    for pairs in (0, max_pairs):
        logits = head.logits(text, global_features, spatial, 10.0, max_pairs=pairs)
        loss = F.cross_entropy(logits, torch.arange(B))
        results.append((logits, *gradients(loss, head)))
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("max_pairs", [0, 1, 2, 5, 7, 10, 100])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("with_offset", [False, True])
def test_cross_entropy_in_chunks_is_that_of_the_logits(
    max_pairs: int, num_layers: int, with_offset: bool
) -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS, num_layers=num_layers, residual_learnt=True)
    randomise(head)
    text, global_features, spatial = inputs()
    labels = torch.tensor([4, 0, 0])
    offset = torch.randn(B, K) if with_offset else None
    logits = head.logits(text, global_features, spatial, 10.0)
    logits = logits if offset is None else logits + offset
    expected = F.cross_entropy(logits, labels)
    wanted = gradients(3 * expected, head)

    loss, found = head.cross_entropy(
        text, global_features, spatial, labels, 10.0, offset=offset, max_pairs=max_pairs
    )
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, logits, atol=1e-5, rtol=1e-5)
    assert not found.requires_grad
    for gradient, reference in zip(gradients(3 * loss, head), wanted, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("max_pairs", [0, 2, K])
def test_what_no_image_enters_is_computed_once_a_step(max_pairs: int) -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS)
    layer = head._decoder[0]
    calls = []
    for once in (layer.self_attention, layer.cross_attention.q_proj):
        once.register_forward_hook(lambda module, *_: calls.append(module))
    text, global_features, spatial = inputs()
    loss, _ = head.cross_entropy(
        text, global_features, spatial, torch.arange(B), 10.0, max_pairs=max_pairs
    )
    loss.backward()
    assert calls == [layer.self_attention, layer.cross_attention.q_proj]


def test_cross_entropy_without_gradients_computes_none() -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS)
    text, global_features, spatial = inputs()
    with torch.no_grad():
        loss, _ = head.cross_entropy(
            text, global_features, spatial, torch.arange(B), 10.0, max_pairs=1
        )
    assert not loss.requires_grad


def test_cross_entropy_without_anything_to_train_has_none() -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS).requires_grad_(False)
    text, global_features, spatial = inputs()
    loss, _ = head.cross_entropy(text, global_features, spatial, torch.arange(B), 10.0, max_pairs=K)
    assert not loss.requires_grad


@pytest.mark.parametrize("max_pairs", [2, K, 2 * K])
def test_cross_entropy_gives_its_arguments_their_gradients(max_pairs: int) -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS)
    randomise(head)
    offset, scale = torch.randn(B, K), torch.tensor(10.0)
    given = [tensor.requires_grad_() for tensor in (*inputs(), scale, offset)]
    text, global_features, spatial, scale, offset = given
    labels = torch.arange(B)
    logits = head.logits(text, global_features, spatial, scale) + offset
    expected = torch.autograd.grad(F.cross_entropy(logits, labels), given)
    loss, _ = head.cross_entropy(
        text, global_features, spatial, labels, scale, offset=offset, max_pairs=max_pairs
    )
    for gradient, reference in zip(torch.autograd.grad(loss, given), expected, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-5, rtol=1e-4)


def test_bfloat16_chunks_have_the_gradients_of_the_whole() -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS, zero_init=False)
    text, global_features, spatial = inputs()
    found = []
    for max_pairs in (0, K):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, _ = head.cross_entropy(
                text, global_features, spatial, torch.arange(B), 10.0, max_pairs=max_pairs
            )
        found.append(torch.cat([g.flatten() for g in gradients(loss, head)]))
    assert torch.dist(*found) < 0.05 * found[0].norm()


def test_dropout_in_chunks_repeats_with_its_seed() -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS, dropout=0.3)
    randomise(head)
    text, global_features, spatial = inputs()
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(
            head.cross_entropy(text, global_features, spatial, torch.arange(B), 10.0, max_pairs=K)[
                0
            ]
        )
    assert losses[0].equal(losses[1])
    assert not losses[0].equal(losses[2])


class Held:
    """Counts the numbers that autograd holds for a backward pass, now and at most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> _Kept:
        """Stand for a tensor that is held."""
        return _Kept(tensor, self)


class _Kept:
    def __init__(self, tensor: Tensor, held: Held) -> None:
        self.tensor, self.held = tensor, held
        held.now += tensor.numel()
        held.most = max(held.most, held.now)

    def __del__(self) -> None:
        self.held.now -= self.tensor.numel()


def test_cross_entropy_holds_the_activations_of_one_chunk() -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS)
    text, global_features, spatial = inputs(n_classes=100)
    most = {}
    for max_pairs in (0, 100):
        held = Held()
        with torch.autograd.graph.saved_tensors_hooks(held.pack, lambda kept: kept.tensor):
            loss, _ = head.cross_entropy(
                text, global_features, spatial, torch.arange(B), 10.0, max_pairs=max_pairs
            )
            loss.backward()
        most[max_pairs] = held.most
    assert most[100] < 0.6 * most[0]


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="num_heads 3 does not divide dim 16"):
        VisualGuidedAttention(D, num_heads=3)


def test_dropout_is_silent_in_evaluation() -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS, dropout=0.5)
    randomise(head)
    text, _, spatial = inputs()
    head.eval()
    assert head(text, spatial).equal(head(text, spatial))
    head.train()
    assert not head(text, spatial).equal(head(text, spatial))


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("order", ORDERS)
def test_a_whole_head_equals_the_reference_in_every_order(
    switches: dict[str, object], order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_order(monkeypatch, order)
    head = VisualGuidedAttention(D, C, num_heads=HEADS, **switches)
    randomise(head)
    text, _, spatial = inputs(spatial_dim=C)
    expected = reference_texts(head, text, spatial)
    torch.testing.assert_close(head(text, spatial), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_recomputed_activations_drop_the_same_numbers(
    order: Order, num_layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_order(monkeypatch, order)
    monkeypatch.setattr(chunked_loss, "BLOCK_PAIRS", 2 * K)
    head = VisualGuidedAttention(D, num_heads=HEADS, num_layers=num_layers, dropout=0.3)
    randomise(head)
    text, global_features, spatial = inputs()
    results = []
    for max_pairs in (0, 2 * K):  # the same blocks, kept and recomputed
        torch.manual_seed(1)
        logits = head.logits(text, global_features, spatial, 10.0, max_pairs=max_pairs)
        loss = F.cross_entropy(logits, torch.arange(B))
        results.append((logits, *gradients(loss, head)))
    for kept, recomputed in zip(*results, strict=True):
        torch.testing.assert_close(recomputed, kept, atol=0, rtol=0)


@pytest.mark.parametrize("block", [1, 2, K, 2 * K])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS)
    randomise(head)
    text, global_features, spatial = inputs()
    whole = head.logits(text, global_features, spatial, 10.0)
    monkeypatch.setattr(chunked_loss, "BLOCK_PAIRS", block)
    cut = head.logits(text, global_features, spatial, 10.0)
    torch.testing.assert_close(cut, whole, atol=1e-5, rtol=1e-5)


def test_recomputing_keeps_only_one_chunk_of_activations() -> None:
    head = VisualGuidedAttention(D, num_heads=HEADS)
    randomise(head)
    text, global_features, spatial = inputs(n_classes=100)
    held = {}
    for max_pairs in (0, 100):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x
        ):
            head.logits(text, global_features, spatial, 10.0, max_pairs=max_pairs)
        held[max_pairs] = sum(sizes)
    assert held[100] < held[0] / 3


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("max_pairs", [0, K])
def test_bfloat16_autocast_stays_close(
    switches: dict[str, object], order: Order, max_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_order(monkeypatch, order)
    # at its start's spread of weights; larger ones would only magnify the rounding
    head = VisualGuidedAttention(D, num_heads=HEADS, zero_init=False, **switches)
    text, global_features, spatial = inputs()
    exact = head.logits(text, global_features, spatial, 1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, rounded = head.cross_entropy(
            text, global_features, spatial, torch.arange(B), 1.0, max_pairs=max_pairs
        )
    loss.backward()
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.03, rtol=0)
    assert all(p.grad.isfinite().all() for p in head.parameters() if p.grad is not None)


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("max_pairs", [0, 7])
def test_every_switch_runs_without_a_device(switches: dict[str, object], max_pairs: int) -> None:
    meta = torch.device("meta")
    with meta:
        head = VisualGuidedAttention(1024, 2048, **switches)
        text, images = torch.empty(200, 1024), torch.empty(B, 1024)
        spatial = torch.empty(B, 49, 2048)
        assert head(text, spatial).shape == (B, 200, 1024)
        logits = head.logits(text, images, spatial, 100.0, max_pairs=max_pairs)
    assert logits.shape == (B, 200)
    assert logits.device == meta
    logits.sum().backward()
    assert all(p.grad.shape == p.shape for p in head.parameters() if p.grad is not None)
