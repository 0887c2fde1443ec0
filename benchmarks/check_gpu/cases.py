"""What is computed on every device and compared: layers and methods, on random features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vtclip.layers import MultiHeadAttention, VisualGuidedAttention
from vtclip.layers.product_order import Order, attend_in_order
from vtclip.layers.shortlist import shortlist_of
from vtclip.methods import (
    calip,
    clap,
    clip_adapter,
    coop,
    gda,
    lp_plus_plus,
    p0,
    proker,
    rla,
    ss_text,
    task_res,
    tip_adapter,
    zero_shot,
)

SCALE = 100.0
SHOTS = 3


class Inputs(NamedTuple):
    """Random features of one type on one device.

    Attributes:
        text: [K, D], normalised.
        images: [B, D], normalised.
        spatial: [B, S, D].
        labels: [B], int64.
        support: [N, D], normalised, :data:`SHOTS` images of each class.
        support_labels: [N], int64.
        move: puts a module that was built on the CPU beside them.
    """

    text: Tensor
    images: Tensor
    spatial: Tensor
    labels: Tensor
    support: Tensor
    support_labels: Tensor
    move: Callable[[nn.Module], nn.Module]


class Found(NamedTuple):
    """What a case computes: outputs, and gradients of what it trains."""

    outputs: list[Tensor]
    gradients: list[Tensor]


@dataclass(frozen=True)
class Case:
    """One thing that is computed.

    Attributes:
        name: its name in the results.
        run: of inputs, to what is found; draws from PyTorch's generator of the CPU alone.
        in_bf16: whether its products may be in bf16.
        needs_values: whether it looks at numbers in between, which the `meta` device has not.
    """

    name: str
    run: Callable[[Inputs], Found]
    in_bf16: bool = False
    needs_values: bool = False


def draw(
    k: int, b: int, s: int, d: int, device: torch.device | str, dtype: torch.dtype = torch.float32
) -> Inputs:
    """Draw features on the CPU, the same for every device and type, and move them."""
    torch.manual_seed(0)
    support_labels = torch.arange(k).repeat_interleave(SHOTS)
    text = F.normalize(torch.randn(k, d), dim=-1)
    drawn = (
        text,
        F.normalize(torch.randn(b, d), dim=-1),
        torch.randn(b, s, d),
        F.normalize(text[support_labels] + torch.randn(k * SHOTS, d) / d**0.5, dim=-1),
    )
    text, images, spatial, support = (tensor.to(device, dtype) for tensor in drawn)
    labels = torch.randint(k, (b,)).to(device)
    move = partial(_moved, device=device, dtype=dtype)
    return Inputs(text, images, spatial, labels, support, support_labels.to(device), move)


def _moved(module: nn.Module, device: torch.device | str, dtype: torch.dtype) -> nn.Module:
    if torch.device(device).type != "meta":
        return module.to(device, dtype)
    return module.to_empty(device=device)


def _with_gradients(loss: Tensor, trained: nn.Module, *outputs: Tensor) -> Found:
    parameters = [p for p in trained.parameters() if p.requires_grad]
    # with bf16 products the backward pass repeats the precisions of the forward pass by itself
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return Found([x.detach() for x in (loss, *outputs)], [g for g in gradients if g is not None])


def _head(x: Inputs, **switches: Any) -> VisualGuidedAttention:
    torch.manual_seed(1)
    head = VisualGuidedAttention(x.text.shape[1], zero_init=False, **switches)
    moved = x.move(head)
    assert isinstance(moved, VisualGuidedAttention)
    return moved


def guided_step(x: Inputs, *, all_at_once: bool, short: bool = False, **switches: Any) -> Found:
    """Return loss, logits and gradients of a step of VT-CLIP."""
    head = _head(x, **switches)
    # several chunks
    pairs = 0 if all_at_once else len(x.text)
    # not by rank: near ties would fall differently in another arithmetic
    near = torch.arange(len(x.text) // 4, device=x.labels.device)
    chosen = ((x.labels[:, None] + near) % len(x.text)).sort().values if short else None
    loss, logits = head.cross_entropy(
        x.text, x.images, x.spatial, x.labels, SCALE, max_pairs=pairs, shortlist=chosen
    )
    return _with_gradients(loss, head, logits)


def guided_evaluation(x: Inputs) -> Found:
    """Return logits, texts and attention weights of VT-CLIP."""
    head = _head(x)
    with torch.no_grad():
        logits = head.logits(x.text, x.images, x.spatial, SCALE, max_pairs=len(x.text))
        guided, weights = head(x.text, x.spatial, need_weights=True)
    return Found([logits, guided, weights], [])


def attention(x: Inputs, order: Order) -> Found:
    """Return the attention of shared queries, its products in one order."""
    torch.manual_seed(2)
    dim = x.text.shape[1]
    layer = x.move(MultiHeadAttention(dim, dim, 8))
    assert isinstance(layer, MultiHeadAttention)
    if order == "plain":
        attended = layer.attend(layer.q_proj(x.text[None]), x.spatial)
    else:
        q = layer.q_proj(x.text).unflatten(-1, (8, -1))
        attended = attend_in_order(order, q, x.spatial, layer.k_proj, layer.v_proj, layer.out_proj)
    return _with_gradients(attended.float().square().mean(), layer, attended)


def _cosine_step(x: Inputs, images: Tensor, vectors: Tensor, trained: nn.Module) -> Found:
    logits = zero_shot.cosine_logits(images, vectors, SCALE)
    return _with_gradients(F.cross_entropy(logits, x.labels), trained, logits)


def shortlist_case(x: Inputs) -> Found:
    """Return the shortlist of logits that are whole numbers, some of them equal."""
    k = len(x.text)
    logits = (7 * torch.arange(k, device=x.text.device) + x.labels[:, None]) % (k // 2)
    chosen = shortlist_of(logits.to(x.text.dtype), k // 4, x.labels)
    return Found([chosen.to(x.text.dtype)], [])


def calip_case(x: Inputs) -> Found:
    """Return the logits of CALIP."""
    parts = calip.similarities(x.images, x.spatial, x.text)
    return Found([*parts, calip.calip_logits(parts, SCALE, 0.5, 0.2)], [])


def clap_case(x: Inputs) -> Found:
    """Return a step of CLAP."""
    zero_shot_logits = zero_shot.cosine_logits(x.support, x.text, SCALE)
    strengths = clap.class_strengths(zero_shot_logits, x.support_labels)
    vectors = x.move(clap.ClassVectors(torch.ones(x.text.shape)))
    logits = zero_shot.cosine_logits(x.images, vectors(), SCALE)
    held = clap.distance_from_texts(vectors(), x.text, strengths)
    return _with_gradients(F.cross_entropy(logits, x.labels) + held, vectors, strengths, logits)


def clip_adapter_case(x: Inputs) -> Found:
    """Return a step of CLIP-Adapter."""
    torch.manual_seed(3)
    adapter = x.move(clip_adapter.Adapter(x.text.shape[1]))
    blended = clip_adapter.blend(x.images, adapter(x.images), 0.2)
    return _cosine_step(x, blended, x.text, adapter)


def coop_case(x: Inputs) -> Found:
    """Return CoOp's prompts and the gradient of its context, with the mean token as the encoder."""
    torch.manual_seed(4)
    k, d = x.text.shape
    lengths = [1 + number % 3 for number in range(k)]
    learner = x.move(
        coop.PromptLearner(torch.randn(4, d), torch.randn(k, 12, d), lengths, "middle")
    )
    prompts = learner()
    found = _cosine_step(x, x.images, prompts[:, :6].mean(1), learner)
    return Found([*found.outputs, prompts.detach()], found.gradients)


def gda_case(x: Inputs) -> Found:
    """Return weights and biases of GDA-CLIP."""
    return Found([*gda.discriminant(x.support, x.support_labels, len(x.text))], [])


def lp_case(x: Inputs) -> Found:
    """Return LP++ after ten epochs."""
    state = lp_plus_plus.Descent(x.support, x.support_labels, x.text).at(10)
    return Found([state.weight, state.alpha, state.logits(x.images, x.text)], [])


def lp_start_case(x: Inputs) -> Found:
    """Return the start of LP++."""
    state = lp_plus_plus.starting_state(x.support, x.support_labels, x.text)
    return Found([state.weight, state.alpha, state.logits(x.images, x.text)], [])


def p0_basis_case(x: Inputs) -> Found:
    """Return the projection on P0's basis; the basis itself may differ by a rotation."""
    basis = p0.text_basis(x.text)
    return Found([basis @ basis.T], [])


def p0_case(x: Inputs) -> Found:
    """Return a step of P0's map, on a basis that is given."""
    k, d = x.text.shape
    maps = x.move(p0.CandidateMaps(torch.eye(d)[:, : min(k - 1, d)], 2))
    return _cosine_step(x, maps(x.images, 1), x.text, maps)


def proker_case(x: Inputs) -> Found:
    """Return ProKeR's correction, and that of each support image without itself."""
    residual = proker.residuals(x.support, x.support_labels, x.text)
    solved = proker.correction(x.support, residual, 1.0, 0.1)
    scores = proker.kernel(x.images, x.support, 1.0) @ solved
    return Found([solved, scores, proker.held_out(x.support, residual, 1.0, 0.1)], [])


def rla_case(x: Inputs) -> Found:
    """Return a step of RLA."""
    linear = x.move(rla.LinearMap(x.text.shape[1]))
    return _cosine_step(x, linear(x.images), x.text, linear)


def ss_text_case(x: Inputs) -> Found:
    """Return the class vectors of SS-Text and of SS-Text+."""
    weights = ss_text.class_weights(x.text, x.support, x.support_labels, SCALE)
    return Found([weights, ss_text.repelled(weights)], [])


def task_res_case(x: Inputs) -> Found:
    """Return a step of TaskRes."""
    residual = x.move(task_res.TextResidual(torch.ones(x.text.shape), 0.5))
    return _cosine_step(x, x.images, residual() + x.text, residual)


def tip_adapter_case(x: Inputs) -> Found:
    """Return the keys and the cache logits of Tip-Adapter."""
    keys = tip_adapter.build_keys([x.support, x.support.flip(1)])
    logits = tip_adapter.cache_logits(x.images, keys, x.support_labels, len(x.text), 5.5)
    return Found([keys, logits], [])


def zero_shot_case(x: Inputs) -> Found:
    """Return zero-shot CLIP's logits, of an ensemble of prompts."""
    texts = zero_shot.ensemble_texts(torch.stack([x.text, 2 * x.text + 0.01]))
    return Found([zero_shot.cosine_logits(x.images, texts, SCALE)], [])


ORDERS: tuple[Order, ...] = ("plain", "absorb_key", "absorb_key_value", "absorb_output")
CASES = (
    Case("VT-CLIP, a step", partial(guided_step, all_at_once=False), in_bf16=True),
    Case("VT-CLIP, all pairs at once", partial(guided_step, all_at_once=True), in_bf16=True),
    Case("VT-CLIP, plain path", partial(guided_step, all_at_once=True, fast=False), in_bf16=True),
    Case("VT-CLIP, shortlist", partial(guided_step, all_at_once=False, short=True), in_bf16=True),
    Case(
        "VT-CLIP, two layers, pre-norm",
        partial(guided_step, all_at_once=False, num_layers=2, norm="pre", residual_learnt=True),
        in_bf16=True,
    ),
    Case("VT-CLIP, evaluation", guided_evaluation, in_bf16=True),
    *(
        Case(f"attention, {order}", partial(attention, order=order), in_bf16=True)
        for order in ORDERS
    ),
    Case("shortlist", shortlist_case),
    Case("zero-shot CLIP", zero_shot_case),
    Case("CALIP", calip_case),
    Case("CLAP", clap_case),
    Case("CLIP-Adapter", clip_adapter_case),
    Case("CoOp", coop_case),
    Case("GDA-CLIP", gda_case),
    Case("LP++, start", lp_start_case),
    Case("LP++", lp_case, needs_values=True),
    Case("P0", p0_case),
    Case("P0, basis", p0_basis_case, needs_values=True),
    Case("ProKeR", proker_case),
    Case("RLA", rla_case),
    Case("SS-Text", ss_text_case),
    Case("TaskRes", task_res_case),
    Case("Tip-Adapter", tip_adapter_case),
)
