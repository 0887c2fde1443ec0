"""OpenAI's layout of CLIP: which tensors of which sizes make up a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vtclip.backbones.clip_package import CLIP
from vtclip.errors import UserError

# rows that the tokenizer of the `clip` package needs
VOCABULARY = 49408
HEAD_WIDTH = 64
# no CLIP has a quarter of these; a forged file would take hours to build
MAX_LAYERS = 200
RESNET_STAGES = (1, 2, 3, 4)
TEXT_KEYS = {
    "text_projection": 2,
    "positional_embedding": 2,
    "token_embedding.weight": 2,
    "ln_final.weight": 1,
    "visual.conv1.weight": 4,
}
VIT_KEYS = {"visual.proj": 2, "visual.positional_embedding": 2}
RESNET_KEYS = {"visual.layer1.0.conv1.weight": 4, "visual.attnpool.positional_embedding": 2}


def empty_clip(state_dict: Mapping[str, Tensor], source: str) -> CLIP:
    """Return a CLIP of the sizes of `state_dict`, without memory for its tensors (on "meta").

    Args:
        state_dict: weights under OpenAI's names.
        source: the file they are from, for messages.

    Raises:
        UserError: a tensor is missing, one too many, or of another size than the others imply.
    """
    _check_plain(state_dict, source)
    for key, value in state_dict.items():
        if not value.numel():
            raise UserError(f"{source}: {_short(key)} is empty.")
    dimensions = _dimensions(state_dict, source)
    with torch.device("meta"):
        model = CLIP(**dimensions)
    compare_weights(model.state_dict(), state_dict, source)
    rows = dimensions["vocab_size"]
    if rows < VOCABULARY:
        raise UserError(
            f"{source}: token_embedding.weight has {rows} rows, the tokenizer of CLIP {VOCABULARY}."
        )
    return model


def _dimensions(state_dict: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """Return the arguments of the `clip` package's CLIP; see build_model there."""
    is_vit = "visual.proj" in state_dict
    for key, n_dimensions in {**TEXT_KEYS, **(VIT_KEYS if is_vit else RESNET_KEYS)}.items():
        if key not in state_dict:
            raise UserError(f"{source}: lacks {key}, which a CLIP has.")
        if state_dict[key].dim() != n_dimensions:
            shape = tuple(state_dict[key].shape)
            raise UserError(f"{source}: {key} is of size {shape}, not {n_dimensions}-dimensional.")
    size = {key: tensor.shape for key, tensor in state_dict.items()}
    if is_vit:
        patch = size["visual.conv1.weight"][3]
        vision_width = size["visual.conv1.weight"][0]
        positions = size["visual.positional_embedding"][0]
        grid = round((positions - 1) ** 0.5)
        vision = {
            "image_resolution": patch * grid,
            "vision_layers": _count(r"visual\.transformer\.resblocks", state_dict, source),
            "vision_width": vision_width,
            "vision_patch_size": patch,
        }
        heads_in_width = vision_width
    else:
        positions = size["visual.attnpool.positional_embedding"][0]
        grid = round((positions - 1) ** 0.5)
        vision_width = size["visual.layer1.0.conv1.weight"][0]
        vision = {
            "image_resolution": grid * 32,
            "vision_layers": tuple(
                _count(rf"visual\.layer{stage}", state_dict, source) for stage in RESNET_STAGES
            ),
            "vision_width": vision_width,
            "vision_patch_size": None,
        }
        heads_in_width = vision_width * 32
    if grid < 1 or grid**2 + 1 != positions:
        raise UserError(f"{source}: {positions} positions in an image, not a square and one more.")
    text_width = size["ln_final.weight"][0]
    for width, of in ((heads_in_width, "image"), (text_width, "text")):
        # a head is 64 wide, and all heads alike
        if width < HEAD_WIDTH or width % (width // HEAD_WIDTH):
            raise UserError(f"{source}: a width of {width} in the {of} encoder has no heads.")
    return {
        **vision,
        "embed_dim": size["text_projection"][1],
        "context_length": size["positional_embedding"][0],
        "vocab_size": size["token_embedding.weight"][0],
        "transformer_width": text_width,
        "transformer_heads": text_width // HEAD_WIDTH,
        "transformer_layers": _count(r"transformer\.resblocks", state_dict, source),
    }


def _count(stem: str, state_dict: Mapping[str, Tensor], source: str) -> int:
    """Count the layers below a module, by their names in the keys."""
    pattern = re.compile(stem + r"\.([^.]+)\.")
    count = len({match[1] for key in state_dict if (match := pattern.match(key))})
    if not 1 <= count <= MAX_LAYERS:
        raise UserError(f"{source}: {count} layers in {stem.replace(chr(92), '')}.")
    return count


def compare_weights(
    expected: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    source: str,
    model: str = "a CLIP of its size",
) -> None:
    """Compare the names, sizes and types of tensors, whose values must be finite.

    Args:
        expected: what the model has.
        found: what the file has.
        source: the file, for messages.
        model: what the model is, for messages.

    Raises:
        UserError: a tensor is missing, one too many, of another size or type, no plain one, or not
            finite in fp32.
    """
    lacking = [key for key in expected if key not in found]
    if lacking:
        raise UserError(f"{source}: lacks {_listed(lacking)}, which {model} has.")
    excess = [key for key in found if key not in expected]
    if excess:
        raise UserError(
            f"{source}: holds {_listed(excess)}, which {model} has not; remove it, or "
            "take the weights of an unchanged one."
        )
    _check_plain(found, source)
    for key, tensor in expected.items():
        value = found[key]
        if tensor.shape != value.shape:
            raise UserError(
                f"{source}: {key} is of size {tuple(value.shape)}, expected {tuple(tensor.shape)}."
            )
        if tensor.is_floating_point() and not value.is_floating_point():
            raise UserError(f"{source}: {key} is of type {value.dtype}, not a float.")
        if value.is_floating_point() and not _is_finite(value):
            raise UserError(
                f"{source}: {key} holds values that are not finite in fp32; fetch the file again."
            )


def _check_plain(state_dict: Mapping[str, Tensor], source: str) -> None:
    for key, value in state_dict.items():
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise UserError(f"{source}: {_short(key)} is no plain tensor.")


def _is_finite(tensor: Tensor) -> bool:
    # the sum is quicker by far, and is not finite if a value is not
    plain = tensor.float()
    return bool(plain.sum().isfinite()) or bool(plain.isfinite().all())


def _listed(keys: list[str]) -> str:
    rest = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return _short(keys[0]) + rest


def _short(key: str) -> str:
    """Return a key as it is where it is one, else in quotes."""
    return key if re.fullmatch(r"[\w.]{1,100}", key, re.ASCII) else repr(key[:100])
