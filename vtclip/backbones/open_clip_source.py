"""Where a model of open_clip comes from: published weights, a file, a folder or the hub."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vtclip.backbones.checkpoint_files import read_weights
from vtclip.backbones.clip_layout import compare_weights
from vtclip.backbones.families import WEIGHTS, family_name
from vtclip.backbones.optional import one_line
from vtclip.backbones.registry import Activation
from vtclip.errors import UserError, shortened
from vtclip.files import read_json, user_path
from vtclip.screen import say

HUB = "hf-hub:"
CONFIG = "open_clip_config.json"
# in a folder the first of these that is there, as open_clip writes and publishes them
WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Loaded:
    """A model with its weights, and what it needs beside them.

    Attributes:
        model: open_clip's, in fp32.
        model_id: as `open_clip.get_tokenizer` takes it.
        config: of the model, `embed_dim`, `vision_cfg` and `text_cfg` among its keys.
        preprocessing: "mean", "std", "interpolation", "resize_mode".
    """

    model: nn.Module
    model_id: str
    config: dict[str, Any]
    preprocessing: dict[str, Any]


def load(name: str, activation: Activation) -> Loaded:
    """Load the model of a name.

    Args:
        name: `open_clip:MODEL/WEIGHTS` (published weights or a file), `open_clip:FOLDER`,
            `open_clip:hf-hub:ORGANISATION/NAME` or that without `open_clip:`.
        activation: "auto" for that of the weights or of the configuration.

    Raises:
        UserError: there is no such model, or its weights cannot be had or do not fit.
    """
    import open_clip

    parts = family_name(name)
    assert parts is not None
    rest = parts.rest
    if parts.canonical.startswith(HUB):
        rest = parts.canonical
    if rest.startswith(HUB):
        return _from_hub(name, rest, activation)
    model, _, weights = rest.partition("/")
    if open_clip.is_pretrained_cfg(model, weights):
        return _from_tag(name, model, weights, activation)
    if parts.path and parts.path == rest:
        return _from_folder(name, user_path(rest, "MODEL.BACKBONE.NAME"), activation)
    if model not in open_clip.list_models():
        raise _unknown_model(name, model, open_clip.list_models())
    path = user_path(parts.path, "MODEL.BACKBONE.NAME") if parts.path else None
    if path is None or not path.is_file():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise UserError(
            f"MODEL.BACKBONE.NAME: {name}: give weights as open_clip:{model}/WEIGHTS, a file (with "
            f"./ before it where it ends in none of {', '.join(WEIGHTS)}) or one of those "
            f"published for {model}: {tags}."
        )
    return _from_file(name, model, path, activation)


def _unknown_model(name: str, model: str, known: list[str]) -> UserError:
    by_folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(model[:80].casefold(), by_folded, n=4, cutoff=0.4)
    hint = ", ".join(by_folded[other] for other in near)
    return UserError(
        f"MODEL.BACKBONE.NAME: {name}: open_clip has no model {shortened(model)!r}"
        f"{f'; near it are {hint}' if hint else ''}. `python -m vtclip.backbones ls open_clip` "
        "lists all of them; a folder or a file is to be there."
    )


def _from_tag(name: str, model: str, tag: str, activation: Activation) -> Loaded:
    import open_clip

    published = open_clip.get_pretrained_cfg(model, tag)
    config = open_clip.get_model_config(model)
    own = bool(config.get("quick_gelu", False))
    # the weights know better: those of OpenAI under ViT-B-32 were trained with QuickGELU
    quick = own or bool(published.get("quick_gelu", False))
    if quick != own and activation == "auto":
        say(f"{name}: with QuickGELU, as these weights were trained, where {model} has GELU.")
    with one_line(name, "its weights"):
        built = open_clip.create_model(
            model, pretrained=tag, require_pretrained=True, **_choice(activation, quick)
        )
    return _loaded(name, built, model, config, _chosen(activation, quick))


def _from_hub(name: str, model_id: str, activation: Activation) -> Loaded:
    import open_clip

    with one_line(name, "the model"):
        config = open_clip.get_model_config(model_id)
        quick = bool(config.get("quick_gelu", False))
        built = open_clip.create_model(
            model_id, require_pretrained=True, **_choice(activation, quick)
        )
    return _loaded(name, built, model_id, config, _chosen(activation, quick))


def _from_folder(name: str, folder: Path, activation: Activation) -> Loaded:
    if not folder.is_dir():
        raise UserError(
            f"MODEL.BACKBONE.NAME: {name}: {folder} is no folder with {CONFIG}; a file of weights "
            "is named with its model, open_clip:MODEL/FILE."
        )
    content = read_json(folder / CONFIG)
    config = content.get("model_cfg") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG}: has no model_cfg, so it describes no model.")
    path = _weights_in(folder)
    quick = bool(config.get("quick_gelu", False))
    model_id = f"local-dir:{folder}"
    built = _empty(name, model_id, _choice(activation, quick))
    load_weights(built, path, f"the model of {folder / CONFIG}")
    return _loaded(name, built, model_id, config, _chosen(activation, quick))


def _weights_in(folder: Path) -> Path:
    for candidate in WEIGHT_FILES:
        if (folder / candidate).is_file():
            return folder / candidate
    raise UserError(f"{folder}: holds no weights ({', '.join(WEIGHT_FILES)}).")


def _from_file(name: str, model: str, path: Path, activation: Activation) -> Loaded:
    import open_clip

    config = open_clip.get_model_config(model)
    quick = bool(config.get("quick_gelu", False))
    used = _chosen(activation, quick)
    built = _empty(name, model, _choice(activation, quick))
    load_weights(built, path, f"open_clip's {model}")
    if activation == "auto":
        say(
            f"{name}: weights do not tell their activation; {'QuickGELU' if used else 'GELU'} is "
            f"taken, as in open_clip's {model}. For the other set MODEL.BACKBONE.ACTIVATION."
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    known = [_preprocessing(open_clip.get_pretrained_cfg(model, tag)) for tag in tags]
    if known and all(other == known[0] for other in known):
        return _loaded(name, built, model, config, used, known[0])
    if known:
        say(f"{name}: weights of {model} differ in their preprocessing; CLIP's own is taken.")
    return _loaded(name, built, model, config, used)


def _empty(name: str, model_id: str, choice: Mapping[str, bool]) -> nn.Module:
    """Return a model without its weights."""
    import open_clip

    with one_line(name, "the model"):
        return open_clip.create_model(model_id, load_weights=False, pretrained_text=False, **choice)


def _choice(activation: Activation, quick: bool) -> dict[str, bool]:
    """Return the arguments of create_model that set the activation."""
    return {"force_quick_gelu": True} if _chosen(activation, quick) else {"quick_gelu": False}


def _chosen(activation: Activation, quick: bool) -> bool:
    return quick if activation == "auto" else activation == "quick_gelu"


def _loaded(
    name: str,
    model: Any,
    model_id: str,
    config: Mapping[str, Any],
    quick: bool,
    preprocessing: Mapping[str, Any] | None = None,
) -> Loaded:
    told = {**model.visual.preprocess_cfg, **(preprocessing or {})}
    return Loaded(
        model.float().eval(),
        model_id,
        {**config, "quick_gelu": quick},
        {key: told[key] for key in PREPROCESSING},
    )


def _preprocessing(published: Mapping[str, Any]) -> dict[str, Any]:
    return {key: published[key] for key in PREPROCESSING if published.get(key) is not None}


def load_weights(model: Any, path: Path, what: str) -> None:
    """Load a file of weights into a model; no code of the file is run.

    Weights of the text tower may have the names of an earlier layout, without `text.`, and the
    scale may have the shape [1].

    Args:
        model: open_clip's.
        path: see :func:`vtclip.backbones.checkpoint_files.read_weights`.
        what: the model, for messages.

    Raises:
        UserError: the file cannot be read, or is of another model.
    """
    from open_clip.model import convert_to_custom_text_state_dict

    found = read_weights(path)
    if hasattr(model, "text"):
        found = convert_to_custom_text_state_dict(found)
    expected: dict[str, Tensor] = model.state_dict()
    for key in ("logit_scale", "logit_bias"):
        if key in expected and key in found and found[key].numel() == 1:
            found[key] = found[key].reshape(expected[key].shape)
    compare_weights(expected, found, str(path), what)
    model.load_state_dict({key: _plain(value) for key, value in found.items()})


def _plain(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor


def published_names() -> list[str]:
    """Return all names with published weights, `open_clip:MODEL/WEIGHTS`, sorted by model."""
    import open_clip

    return [f"open_clip:{model}/{tag}" for model, tag in open_clip.list_pretrained()]


def structure_of(config: Mapping[str, Any]) -> Any:
    """Return what of a configuration decides features: all but where its tokenizer comes from."""
    plain = json.loads(json.dumps(config, default=str))
    for key in ("hf_tokenizer_name", "hf_model_name", "hf_model_pretrained"):
        plain.get("text_cfg", {}).pop(key, None)
    plain.get("vision_cfg", {}).pop("timm_model_pretrained", None)
    return plain
