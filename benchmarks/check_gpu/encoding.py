"""Images a second of two image encoders with random weights, and whether their features agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.check_gpu.device_clock import median_seconds, peak_mib
from benchmarks.check_gpu.lines import Line, limited, measured
from benchmarks.check_gpu.sizes import Sizes
from vtclip.backbones.base import Backbone
from vtclip.backbones.clip_package import CLIP
from vtclip.backbones.openai_clip import OpenAIBackbone
from vtclip.features import Encoding, encode_batch, resolve_precision
from vtclip.features.encoding import Precision

# D, pixels, layers, width and patch of the image encoder of CLIP's models
ENCODERS: dict[str, tuple[Any, ...]] = {
    "RN50": (1024, 224, (3, 4, 6, 3), 64, None),
    "ViT-B/16": (512, 224, 12, 768, 16),
}
TINY: dict[str, tuple[Any, ...]] = {
    "RN50": (64, 64, (1, 1, 1, 1), 8, None),
    "ViT-B/16": (64, 64, 2, 64, 16),
}
# positions, tokens, width, heads and layers of the text encoder, which is not measured
TEXT = (77, 49408, 512, 8, 1)
TINY_TEXT = (77, 49408, 64, 1, 1)
# largest 1 - cosine of a global feature and the CPU's in fp32; convolutions on CUDA are in TF32, as
# PyTorch has it by default, and fp16 and bf16 round to 2^-11 and 2^-9 in each layer
LARGEST_ANGLE = 1e-2
COMPARED = 4


def check_encoding(device: torch.device, sizes: Sizes) -> Iterator[Line]:
    """Measure both encoders, in fp32 and in the precision that a run takes by default."""
    for name in ENCODERS:
        backbone, pixels = random_backbone(name, sizes)
        images = torch.randn(max(sizes.encoded, COMPARED), 3, pixels, pixels)
        truth = encode_batch(images[:COMPARED], encoding(backbone, "fp32")).global_features
        backbone.to(device)
        batch = images[: sizes.encoded].to(device)
        for precision in dict.fromkeys(("fp32", resolve_precision("auto", device))):
            how = encoding(backbone, precision)
            found = encode_batch(batch[:COMPARED], how).global_features.cpu()
            angle = float((1 - F.cosine_similarity(found, truth, dim=-1)).max())
            what = f"{name} at {pixels} pixels, {precision}"
            yield limited("encoding", f"{what}: 1 - cosine with the CPU", angle, LARGEST_ANGLE)

            def encode(how: Encoding = how, batch: torch.Tensor = batch) -> object:
                return encode_batch(batch, how)

            seconds = median_seconds(encode, device, sizes.repetitions, sizes.warm_up)
            yield measured("encoding", what, len(batch) / seconds, "images/s")
            yield measured("encoding", f"{what}: peak memory", peak_mib(encode, device), "MiB")


def random_backbone(name: str, sizes: Sizes) -> tuple[Backbone, int]:
    """Return a backbone of a model's size with random weights on the CPU, and its pixels."""
    vision = (TINY if sizes.small else ENCODERS)[name]
    torch.manual_seed(0)
    model = CLIP(*vision, *(TINY_TEXT if sizes.small else TEXT))
    weights = dict(model.state_dict())
    return OpenAIBackbone(f"{name} with random weights", weights), vision[1]


def encoding(backbone: Backbone, precision: Precision) -> Encoding:
    """Return how a run encodes; images here are tensors already."""
    return Encoding(backbone, lambda image: torch.empty(0), "", "joint", precision)
