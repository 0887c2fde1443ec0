"""VT-CLIP's attention against torch's decoder layer, with and without its flash attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.check_gpu.device_clock import median_seconds, peak_mib
from benchmarks.check_gpu.equality import UNITS, error_of_outputs
from benchmarks.check_gpu.lines import Line, limited, measured, not_run
from benchmarks.check_gpu.sizes import Sizes
from vtclip.layers import DecoderLayer, MultiHeadAttention, VisualGuidedAttention
from vtclip.layers import visual_guided_logits as match
from vtclip.precision import autocast, bf16_is_fast

SCALE, HEADS = 100.0, 8
# both add up in orders of their own; errors of a cosine are made larger by the layers before it
UNITS_APART = 64.0
LARGEST_SHARE_OF_MEMORY = 0.5


class TorchLayer(nn.Module):
    """The same head with `nn.TransformerDecoderLayer`, on texts copied for each image."""

    def __init__(self, ours: VisualGuidedAttention) -> None:
        super().__init__()
        source = ours.layers[0]
        assert isinstance(source, DecoderLayer) and source.ffn is not None
        assert source.self_attention is not None
        dim, width = source.ffn.fc1.in_features, source.ffn.fc1.out_features
        self.layer = nn.TransformerDecoderLayer(dim, HEADS, width, dropout=0.0, batch_first=True)
        copy_attention(source.self_attention, self.layer.self_attn)
        copy_attention(source.cross_attention, self.layer.multihead_attn)
        for theirs, own in (
            (self.layer.norm1, source.self_norm),
            (self.layer.norm2, source.cross_norm),
            (self.layer.norm3, source.ffn_norm),
            (self.layer.linear1, source.ffn.fc1),
            (self.layer.linear2, source.ffn.fc2),
        ):
            theirs.load_state_dict(own.state_dict())

    def forward(self, text: Tensor, images: Tensor, spatial: Tensor) -> Tensor:
        """Return the logits [B, K] of texts [K, D], images [B, D] and locations [B, S, D]."""
        texts = F.normalize(text, dim=-1).expand(len(images), -1, -1)
        attended = self.layer(texts, F.normalize(spatial, dim=-1))
        return match(images, texts + attended, SCALE, fast=False)


@torch.no_grad()
def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    """Give torch's attention our weights."""
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.in_proj_weight.copy_(torch.cat([projection.weight for projection in projections]))
    theirs.in_proj_bias.copy_(torch.cat([projection.bias for projection in projections]))
    theirs.out_proj.load_state_dict(ours.out_proj.state_dict())


def check_contest(device: torch.device, sizes: Sizes) -> Iterator[Line]:
    """Compare logits, seconds and memory of a training step, in fp32 and in bf16."""
    torch.manual_seed(0)
    ours = VisualGuidedAttention(sizes.dim, num_heads=HEADS, zero_init=False)
    theirs = TorchLayer(ours).to(device)
    ours.to(device)
    drawn = (
        torch.randn(sizes.classes, sizes.dim),
        torch.randn(sizes.batch, sizes.dim),
        torch.randn(sizes.batch, sizes.locations, sizes.dim),
    )
    text, images, spatial = (tensor.to(device) for tensor in drawn)
    labels = torch.randint(sizes.classes, (sizes.batch,)).to(device)
    with torch.no_grad():
        few = (text, images[:4], spatial[:4])
        own = ours.logits(*few, SCALE, max_pairs=sizes.max_pairs).cpu()
        apart = error_of_outputs([own], [theirs(*few).cpu()])
    yield limited(
        "attention", "logits and those of torch's layer, fp32", apart, UNITS_APART * UNITS["fp32"]
    )
    for precision in ("fp32", "bf16"):
        products = torch.bfloat16 if precision == "bf16" else None
        flash = precision == "bf16"
        reason = flash_obstacle(device) if flash else ""
        if reason:
            yield not_run("attention", f"torch's layer with flash attention, {precision}", reason)
            continue

        def own_step(products: torch.dtype | None = products) -> None:
            with autocast(device, products):
                loss, _ = ours.cross_entropy(
                    text, images, spatial, labels, SCALE, max_pairs=sizes.max_pairs
                )
            ours.zero_grad()
            loss.backward()

        def torch_step(products: torch.dtype | None = products, flash: bool = flash) -> None:
            with only_flash(flash), autocast(device, products):
                loss = F.cross_entropy(theirs(text, images, spatial), labels)
            theirs.zero_grad()
            loss.backward()

        rival = f"torch's layer{' with flash attention' if flash else ''}, {precision}"
        yield from race(f"VT-CLIP, {precision}", own_step, rival, torch_step, device, sizes)
    yield from cross_attention_alone(ours, text, spatial, device, sizes)


def race(
    name: str,
    own_step: Callable[[], None],
    rival: str,
    torch_step: Callable[[], None],
    device: torch.device,
    sizes: Sizes,
) -> Iterator[Line]:
    """Yield the seconds and peaks of two steps, and whether ours is faster and smaller."""
    steps = {name: own_step, rival: torch_step}
    peaks = {}
    try:
        for who, step in steps.items():
            peaks[who] = peak_mib(step, device)
    except torch.cuda.OutOfMemoryError:
        yield not_run("attention", f"{name} against {rival}", "not enough memory")
        return
    seconds = {
        who: median_seconds(step, device, sizes.repetitions, sizes.warm_up)
        for who, step in steps.items()
    }
    for who in steps:
        yield measured("attention", f"{who}: a step", 1e3 * seconds[who], "ms")
        yield measured("attention", f"{who}: peak memory of a step", peaks[who], "MiB")
    against = f"{name} over {rival}"
    ratio = seconds[name] / seconds[rival]
    if sizes.small:
        yield measured("attention", f"{against}: seconds", ratio, "times")
    else:
        yield limited("attention", f"{against}: seconds", ratio, 1.0)
    share = peaks[name] / peaks[rival]
    yield limited("attention", f"{against}: memory", share, LARGEST_SHARE_OF_MEMORY)


def cross_attention_alone(
    head: VisualGuidedAttention, text: Tensor, spatial: Tensor, device: torch.device, sizes: Sizes
) -> Iterator[Line]:
    """Yield the seconds of the cross-attention alone, forward, in our order and by flash."""
    reason = flash_obstacle(device)
    if reason:
        yield not_run("attention", "cross-attention alone, bf16", reason)
        return
    layer = head.layers[0]
    assert isinstance(layer, DecoderLayer)
    attention = layer.cross_attention
    queries = attention.q_proj(F.normalize(text, dim=-1))[None].detach()

    def in_our_order() -> Tensor:
        return attention.attend(queries, spatial)

    def by_flash() -> Tensor:
        q, k, v = (
            x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for x in (queries, attention.k_proj(spatial), attention.v_proj(spatial))
        )
        q = q.to(k.dtype).expand(len(spatial), -1, -1, -1)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return attention.out_proj(mixed.transpose(1, 2).flatten(2))

    found = []
    with torch.no_grad(), autocast(device, torch.bfloat16), only_flash(True):
        for name, work in (("in our order of products", in_our_order), ("by flash", by_flash)):
            found.append(work().float().cpu())
            seconds = median_seconds(work, device, sizes.repetitions, sizes.warm_up)
            what = f"cross-attention alone, forward, {name}, bf16"
            yield measured("attention", what, 1e3 * seconds, "ms")
    apart = error_of_outputs(found[:1], [found[1].double()])
    what = "cross-attention alone, both, bf16"
    yield limited("attention", what, apart, UNITS_APART * UNITS["bf16"] / 4)


def flash_obstacle(device: torch.device) -> str:
    """Return why torch's flash attention cannot run in bf16 on a device, empty where it can."""
    if device.type != "cuda":
        return ""
    if not torch.backends.cuda.is_flash_attention_available():
        return "this PyTorch has no flash attention"
    return "" if bf16_is_fast(device) else "flash attention needs compute capability 8.0"


def only_flash(wanted: bool) -> AbstractContextManager[Any]:
    """Return a context in which attention is flash attention or an error."""
    return sdpa_kernel(SDPBackend.FLASH_ATTENTION) if wanted else nullcontext()
