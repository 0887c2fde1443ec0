"""Is an adaptor right? What can be told of a backbone without knowing the model behind it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vtclip.backbones.base import Backbone, PromptLearningBackbone, VisualTokens
from vtclip.backbones.optional import INTERPOLATIONS
from vtclip.features.encoding import Encoding, encode_batch
from vtclip.image_features import Features
from vtclip.methods.zero_shot import cosine_logits

BATCH_SIZE = 32
# cosine of features that ought to be the same, in fp32
SAME = 0.999


@dataclass(frozen=True)
class Measured:
    """What was measured of a backbone.

    Attributes:
        n_locations: S, 0 where there are no spatial features.
        joint_cosine: mean cosine of the mean joint spatial feature of an image and its global
            feature, None where there are none.
        foreign_cosine: the same with the global feature of another image.
        accuracy: of zero-shot classification, in percent.
        texts_differ: whether the prompts have features that differ.
        images_per_second: encoded, without reading and resizing.
        peak_memory: of the process on a CPU, of the tensors on a GPU, in bytes; 0 where unknown.
    """

    n_locations: int
    joint_cosine: float | None
    foreign_cosine: float | None
    accuracy: float
    texts_differ: bool
    images_per_second: float
    peak_memory: int


def declared_faults(backbone: Backbone) -> Iterator[str]:
    """Yield what is wrong in the attributes of a backbone, each in a few words."""
    mean, std = tuple(backbone.mean), tuple(backbone.std)
    if len(mean) != 3 or not all(0 <= value <= 1 for value in mean):
        yield f"mean {mean} is not three values from 0 to 1, the range of images"
    if len(std) != 3 or not all(0 < value <= 1 for value in std):
        yield f"std {std} is not three values above 0 and up to 1, the range of images"
    if backbone.image_size < 1:
        yield f"image_size {backbone.image_size} is no number of pixels"
    if backbone.interpolation not in INTERPOLATIONS:
        yield f"interpolation {backbone.interpolation!r} is none of {', '.join(INTERPOLATIONS)}"
    if not backbone.fingerprint:
        yield "fingerprint is empty, so cached features of other weights would be taken for its own"
    scale = backbone.logit_scale.detach()
    if scale.numel() != 1 or not math.isfinite(float(scale)) or float(scale) <= 0:
        yield f"logit_scale {scale.tolist()} is no number above 0"
    elif float(scale) < 1:
        yield f"logit_scale {float(scale):.3g} is below 1; it is to be exponentiated"
    if not backbone.token_kinds or not set(backbone.token_kinds) <= {"joint", "backbone"}:
        yield f"token_kinds {tuple(backbone.token_kinds)} are not of joint and backbone"
    if any(parameter.requires_grad for parameter in backbone.parameters()):
        yield "parameters require gradients after it was built"


@torch.no_grad()
def image_faults(backbone: Backbone, images: Tensor) -> Iterator[str]:
    """Yield what is wrong with the features of images, each in a few words.

    Args:
        backbone: in fp32.
        images: [B, 3, H, W], at least two that differ, transformed, on its device.
    """
    kinds: tuple[VisualTokens | None, ...] = (None, *backbone.token_kinds)
    found = {kind: backbone.encode_image(images, kind) for kind in kinds}
    widths = {"joint": backbone.embed_dim, "backbone": backbone.backbone_dim}
    for kind, features in found.items():
        what = f"encode_image(images, {kind!r})"
        expected = (len(images), backbone.embed_dim)
        if features.global_features.shape != expected:
            shape = tuple(features.global_features.shape)
            yield f"{what} gives global features {shape}, expected {expected} of embed_dim"
            return
        spatial = features.spatial_features
        if kind is None:
            if spatial is not None:
                yield f"{what} gives spatial features that are not asked for"
        elif spatial is None:
            yield f"{what} gives no spatial features"
            return
        elif spatial.dim() != 3 or spatial.shape[::2] != (len(images), widths[kind]):
            attribute = "embed_dim" if kind == "joint" else "backbone_dim"
            yield (
                f"{what} gives spatial features {tuple(spatial.shape)}, expected "
                f"({len(images)}, S, {widths[kind]}) of {attribute}"
            )
            return
        fault = features.fault()
        if fault:
            yield f"{what}: {fault[0]}"
            return
    counts = {f.spatial_features.shape[1] for f in found.values() if f.spatial_features is not None}
    if len(counts) > 1:
        yield f"joint and backbone spatial features are of {sorted(counts)} locations"
    plain = found[None].global_features
    for kind, features in found.items():
        if _lowest_cosine(features.global_features, plain) < SAME:
            yield f"global features beside {kind} spatial ones are others than those alone"
    alone = backbone.encode_image(images[:1], None).global_features
    if _lowest_cosine(alone, plain[:1]) < SAME:
        yield "the features of an image depend on what else is in its batch"
    if _lowest_cosine(backbone.encode_image(images, None).global_features, plain) < SAME:
        yield "features differ from call to call; is it in evaluation mode?"
    if torch.allclose(plain[0], plain[1], rtol=1e-4, atol=1e-6):
        yield "two images that differ have the same global features"


@torch.no_grad()
def text_faults(backbone: Backbone, prompts: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the features of at least two prompts, each in a few words."""
    found = backbone.encode_text(prompts)
    expected = (len(prompts), backbone.embed_dim)
    if found.shape != expected:
        yield f"encode_text gives {tuple(found.shape)}, expected {expected} of embed_dim"
        return
    if not found.isfinite().all():
        yield "text features are not finite"
        return
    # by one word, which nearly every text encoder has room for
    longer = f"{prompts[0]} {prompts[0].split()[-1]}"
    beside = backbone.encode_text([prompts[0], longer])
    if _lowest_cosine(beside[:1], found[:1]) < SAME:
        yield "the features of a prompt depend on the length of the one beside it"


def measure(encoding: Encoding, images: Tensor, labels: Tensor, prompts: Sequence[str]) -> Measured:
    """Measure a backbone on images of known classes.

    Args:
        encoding: its precision is that of the measurement, its transform is not used.
        images: [N, 3, H, W], transformed, N at least 2.
        labels: [N].
        prompts: one per class.

    Raises:
        FloatingPointError: features are not finite in that precision.
    """
    backbone, device = encoding.backbone, encoding.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    batches = images.split(BATCH_SIZE)
    # the first call makes plans and buffers
    encode_batch(batches[0], encoding)
    _wait_for(device)
    start = time.perf_counter()
    features = Features.cat([encode_batch(batch, encoding) for batch in batches])
    _wait_for(device)
    seconds = time.perf_counter() - start
    fault = features.fault()
    if fault:
        raise FloatingPointError(f"{fault[0]} in {encoding.precision}")
    with torch.no_grad():
        texts = F.normalize(backbone.encode_text(prompts), dim=-1)
    g, spatial = features.global_features, features.spatial_features
    scores = cosine_logits(g, texts, float(backbone.logit_scale))
    own = foreign = None
    if spatial is not None and encoding.tokens == "joint":
        mean = spatial.mean(1)
        own = float(F.cosine_similarity(mean, g).mean())
        foreign = float(F.cosine_similarity(mean, g.roll(len(g) // 2, 0)).mean())
    return Measured(
        n_locations=0 if spatial is None else spatial.shape[1],
        joint_cosine=own,
        foreign_cosine=foreign,
        accuracy=100 * float((scores.argmax(1).cpu() == labels).double().mean()),
        texts_differ=not torch.allclose(texts, texts[:1].expand_as(texts), rtol=1e-4, atol=1e-6),
        images_per_second=len(images) / seconds,
        peak_memory=_peak_memory(device),
    )


def table_rows(encoding: Encoding, measured: Measured, n_classes: int) -> list[tuple[str, str]]:
    """Return the rows of the table: what, and its value in words."""
    backbone = encoding.backbone
    millions = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
    side = math.isqrt(measured.n_locations)
    grid = f"{side} x {side}" if side**2 == measured.n_locations else str(measured.n_locations)
    mean, std = (
        ", ".join(f"{value:.4g}" for value in part) for part in (backbone.mean, backbone.std)
    )
    joint = "none, VISUAL_TOKENS backbone alone"
    if measured.joint_cosine is not None:
        joint = f"{measured.joint_cosine:.3f} (of another image: {measured.foreign_cosine:.3f})"
    memory = f"{measured.peak_memory / 2**20:,.0f} MiB" if measured.peak_memory else "unknown here"
    enters = isinstance(backbone, PromptLearningBackbone)
    alike = "" if measured.texts_differ else "; all prompts have the same text features"
    return [
        ("backbone", backbone.name),
        ("fingerprint", backbone.fingerprint[:12]),
        ("parameters", f"{millions:,.1f} million"),
        ("images", f"{backbone.image_size} pixels, {backbone.interpolation}"),
        ("mean; std", f"{mean}; {std}"),
        ("widths", f"joint {backbone.embed_dim}, before it {backbone.backbone_dim}"),
        ("locations", grid),
        ("logit scale", f"{float(backbone.logit_scale):.2f}"),
        ("prompt learning", "yes" if enters else "no, its text encoder takes texts only"),
        ("cosine of joint mean and global", joint),
        (
            "zero-shot on digits",
            f"{measured.accuracy:.1f} % (chance: {100 / n_classes:.0f} %){alike}",
        ),
        ("arithmetic", f"{encoding.precision} on {encoding.device}"),
        ("speed", f"{measured.images_per_second:,.1f} images/s"),
        ("peak memory", memory),
    ]


def _lowest_cosine(a: Tensor, b: Tensor) -> float:
    return float(F.cosine_similarity(a.double(), b.double()).min())


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes
    return peak if sys.platform == "darwin" else peak * 1024
