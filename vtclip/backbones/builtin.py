"""The backbones that come with this package; their libraries are imported when one is built."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vtclip.backbones.base import Backbone
from vtclip.backbones.pretrained import (
    OPENAI_WEIGHTS,
    TINY_WEIGHTS,
    find_or_download,
    remembered_sha256,
)
from vtclip.backbones.registry import Activation, register_backbone
from vtclip.screen import say


@register_backbone(*OPENAI_WEIGHTS)
def build_openai(name: str, activation: Activation = "auto") -> Backbone:
    """Build one of OpenAI's models from its published weights."""
    return _build(name, find_or_download(name), activation)


@register_backbone("tiny")
def build_tiny(name: str, activation: Activation = "auto") -> Backbone:
    """Build the small CLIP whose weights come with this package; see docs/tiny.md."""
    return _build(name, TINY_WEIGHTS, activation)


@register_backbone("open_clip:*", "hf-hub:*")
def build_open_clip(name: str, activation: Activation = "auto") -> Backbone:
    """Build a model of open_clip from published weights, a file or a folder; see docs/backbones.md.

    Raises:
        UserError: open_clip is not installed, or there is no such model or weights.
    """
    from vtclip.backbones.open_clip_models import open_clip_backbone

    return open_clip_backbone(name, activation)


@register_backbone("hf:*")
def build_transformers(name: str) -> Backbone:
    """Build a CLIP or SigLIP of transformers from a folder or the hub; see docs/backbones.md.

    Raises:
        UserError: transformers is not installed, or there is no such model.
    """
    from vtclip.backbones.transformers_models import transformers_backbone

    return transformers_backbone(name)


def build_from_file(path: str, activation: Activation = "auto") -> Backbone:
    """Build a CLIP of OpenAI's layout from a file of weights.

    The file does not tell which activation it was trained with. QuickGELU is taken unless another
    is given; where that is a guess, a printed line says so.

    Raises:
        UserError: the file is no such thing.
    """
    backbone = _build(path, Path(path), activation)
    if activation == "auto" and not _is_known(Path(path)):
        say(
            f"{path}: not one of OpenAI's files, and weights do not tell their activation; "
            "QuickGELU is taken, as in OpenAI's models. For weights trained with GELU (open_clip's "
            "models without -quickgelu in their names) set MODEL.BACKBONE.ACTIVATION gelu."
        )
    return backbone


def _build(name: str, path: Path, activation: Activation) -> Backbone:
    from vtclip.backbones.checkpoint_files import read_clip_state_dict
    from vtclip.backbones.openai_clip import OpenAIBackbone

    # every model of OpenAI's was trained with QuickGELU
    chosen: Literal["quick_gelu", "gelu"] = "gelu" if activation == "gelu" else "quick_gelu"
    return OpenAIBackbone(name, read_clip_state_dict(path), chosen, source=str(path))


def _is_known(path: Path) -> bool:
    """Tell whether a file is one of OpenAI's or the weights of tiny."""
    from vtclip.backbones.checkpoint_files import may_be_openais

    if path.stat().st_size == TINY_WEIGHTS.stat().st_size:
        return path.read_bytes() == TINY_WEIGHTS.read_bytes()
    # no other format than OpenAI's is worth a digest
    return may_be_openais(path) and remembered_sha256(path) in {
        sha256 for sha256, _ in OPENAI_WEIGHTS.values()
    }
