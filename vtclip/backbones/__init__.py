"""Backbones by name.

`build_backbone("RN50")`, `build_backbone("tiny")` or `build_backbone("path/to/weights.pt")`. A
third party adds one with :func:`register_backbone`, or with an entry point of the group
`vtclip.backbones`; docs/backbones.md works through an example.
"""

from vtclip.backbones.base import Backbone, TokenizedPrompts, VisualTokens
from vtclip.backbones.build import available_backbones, build_backbone, check_backbone
from vtclip.backbones.registry import register_backbone
from vtclip.image_features import Features

__all__ = [
    "Backbone",
    "Features",
    "TokenizedPrompts",
    "VisualTokens",
    "available_backbones",
    "build_backbone",
    "check_backbone",
    "register_backbone",
]
