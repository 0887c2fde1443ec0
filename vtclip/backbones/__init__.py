"""Backbones by name.

`build_backbone("RN50")`, `build_backbone("tiny")` or `build_backbone("path/to/weights.pt")`. A
third party adds one with :func:`register_backbone`, or with an entry point of the group
`vtclip.backbones`; docs/backbones.md works through an example.
"""

from vtclip.backbones.base import (
    Backbone,
    PromptLearningBackbone,
    TokenizedPrompts,
    VisualTokens,
)
from vtclip.backbones.build import (
    available_backbones,
    available_families,
    backbone_label,
    build_backbone,
    canonical_name,
    check_backbone,
    has_files_of_its_own,
    published_name,
)
from vtclip.backbones.registry import Activation, register_backbone
from vtclip.image_features import Features

__all__ = [
    "Activation",
    "Backbone",
    "Features",
    "PromptLearningBackbone",
    "TokenizedPrompts",
    "VisualTokens",
    "available_backbones",
    "available_families",
    "backbone_label",
    "build_backbone",
    "canonical_name",
    "check_backbone",
    "has_files_of_its_own",
    "published_name",
    "register_backbone",
]
