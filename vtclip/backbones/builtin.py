"""The backbones that come with this package; `clip` is imported when one is built."""

from __future__ import annotations

from pathlib import Path

from vtclip.backbones.base import Backbone
from vtclip.backbones.pretrained import OPENAI_WEIGHTS, TINY_WEIGHTS, find_or_download
from vtclip.backbones.registry import register_backbone


@register_backbone(*OPENAI_WEIGHTS)
def build_openai(name: str) -> Backbone:
    """Build one of OpenAI's models from its published weights."""
    return build_from_file(name, find_or_download(name))


@register_backbone("tiny")
def build_tiny(name: str) -> Backbone:
    """Build the small CLIP whose weights come with this package; see docs/tiny.md."""
    return build_from_file(name, TINY_WEIGHTS)


def build_from_file(name: str, path: Path) -> Backbone:
    """Build a CLIP of OpenAI's layout from a file of weights.

    Raises:
        UserError: the file is no such thing.
    """
    from vtclip.backbones.checkpoint_files import read_clip_state_dict
    from vtclip.backbones.openai_clip import OpenAIBackbone

    return OpenAIBackbone(name, read_clip_state_dict(path))
