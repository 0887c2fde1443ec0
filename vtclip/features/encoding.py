"""How images become features: the backbone, the transform and the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import torch
from PIL import Image
from torch import Tensor, nn

from vtclip.backbones.base import Backbone, VisualTokens
from vtclip.errors import UserError, unknown_name
from vtclip.image_features import Features
from vtclip.precision import autocast, bf16_is_fast
from vtclip.threads import one_thread_if

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclass(frozen=True)
class Encoding:
    """How images become features.

    Attributes:
        backbone: the frozen model; its device is where images are encoded.
        transform: a PIL image in RGB to a tensor [3, image_size, image_size].
        transform_key: description of `transform`; two transforms that differ need two keys.
        tokens: the spatial features wanted (see :meth:`Backbone.encode_image`).
        precision: arithmetic of the backbone, and the type that features are kept in. Features
            are rounded to it everywhere, so that features from the backbone, memory and disk are
            the same numbers.
        view: None for a deterministic transform, v >= 0 for augmented view number v.
        compile: run the backbone through torch.compile; slow to start, so for long lists.

    Raises:
        UserError: an unknown precision, fp16 on a CPU, or spatial features that the backbone lacks.
        ValueError: a negative view.
    """

    backbone: Backbone
    transform: Callable[[Image.Image], Tensor]
    transform_key: str
    tokens: VisualTokens | None = "joint"
    precision: Precision = "fp32"
    view: int | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible settings before the first image is read."""
        if self.precision not in DTYPES:
            raise unknown_name("FEATURES.PRECISION", self.precision, DTYPES)
        if self.precision == "fp16" and self.device.type == "cpu":
            raise UserError("FEATURES.PRECISION: fp16 is for CUDA; on a CPU use bf16 or fp32.")
        if self.tokens is not None and self.tokens not in self.backbone.token_kinds:
            raise UserError(
                f"MODEL.BACKBONE.NAME: {self.backbone.name} has no {self.tokens} spatial features, "
                "since attention pools its images and no projection takes single locations to the "
                "texts; TRAINER.VTCLIP.VISUAL_TOKENS backbone works, its projection is learned."
            )
        if self.view is not None and self.view < 0:
            raise ValueError(f"view is {self.view}, not None or at least 0")

    @property
    def device(self) -> torch.device:
        """The device of the backbone."""
        return self.backbone.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        """The type that features are kept in."""
        return DTYPES[self.precision]

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the features, beside the image and the kind of tokens."""
        return {
            "weights": self.backbone.fingerprint,
            "transform": self.transform_key,
            "precision": self.precision,
            "view": self.view,
        }

    @cached_property
    def memory_format(self) -> torch.memory_format:
        """Channels last for convolutional backbones, where it saves CPUs half of the time."""
        # a vision transformer has one convolution, to cut the patches
        convolutions = sum(isinstance(m, nn.Conv2d) for m in self.backbone.modules())
        return torch.channels_last if convolutions > 1 else torch.contiguous_format

    @cached_property
    def is_light(self) -> bool:
        """Whether one thread is enough for the backbone (see `Backbone.is_light`)."""
        return self.backbone.is_light

    @cached_property
    def _encode_image(self) -> Callable[[Tensor, VisualTokens | None], Features]:
        self.backbone.to(memory_format=self.memory_format)
        encode = self.backbone.encode_image
        return torch.compile(encode) if self.compile else encode


def encode_batch(images: Tensor, encoding: Encoding) -> Features:
    """Encode a batch of transformed images, with gradients off.

    Args:
        images: [B, 3, H, W], on any device.
        encoding: its backbone, tokens and precision are used.

    Returns:
        Features on the backbone's device; ordinary tensors that a trained head may keep for its
        backward pass.
    """
    images = images.to(encoding.device, non_blocking=True, memory_format=encoding.memory_format)
    # also for fp32: it switches off an autocast of the caller
    dtype = None if encoding.precision == "fp32" else encoding.dtype
    threads = one_thread_if(encoding.is_light)
    with threads, torch.inference_mode(), autocast(encoding.device, dtype):
        encoded = encoding._encode_image(images, encoding.tokens)
    spatial = encoded.spatial_features
    return Features(
        _leave_inference(encoded.global_features, encoding.dtype),
        None if spatial is None else _leave_inference(spatial, encoding.dtype),
    )


def _leave_inference(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    # autograd refuses tensors made in inference mode; a copy made outside is an ordinary one
    return tensor.to(dtype, copy=True, memory_format=torch.contiguous_format).float()


def resolve_precision(name: str, device: torch.device | str) -> Precision:
    """Turn a setting of FEATURES.PRECISION into a precision.

    Args:
        name: fp32, bf16, fp16, or auto: fp16 on CUDA, bf16 on a CPU with bf16 instructions, fp32
            elsewhere.
        device: where images are encoded.

    Raises:
        UserError: an unknown name.
    """
    if name in DTYPES:
        return cast(Precision, name)
    if name != "auto":
        raise unknown_name("FEATURES.PRECISION", name, ["auto", *DTYPES])
    kind = torch.device(device).type
    if kind == "cuda":
        return "fp16"
    return "bf16" if kind == "cpu" and bf16_is_fast(device) else "fp32"
