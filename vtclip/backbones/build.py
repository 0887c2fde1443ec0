"""From the name of a backbone to the backbone."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from vtclip.backbones.base import Backbone
from vtclip.backbones.builtin import build_from_file
from vtclip.backbones.registry import BackboneFactory, factories
from vtclip.errors import UserError, unknown_name

ENTRY_POINT_GROUP = "vtclip.backbones"


def available_backbones() -> list[str]:
    """Return the names that :func:`build_backbone` knows, sorted."""
    return sorted({*factories, *entry_points(group=ENTRY_POINT_GROUP).names})


def check_backbone(name: str) -> None:
    """Refuse a name that :func:`build_backbone` does not know.

    Raises:
        UserError: neither a registered name nor a file.
    """
    names = available_backbones()
    if name in names or Path(name).is_file():
        return
    if "/" in name and Path(name).suffix:
        raise UserError(f"MODEL.BACKBONE.NAME: no such file: {name}")
    raise unknown_name("MODEL.BACKBONE.NAME", name, names)


def build_backbone(name: str) -> Backbone:
    """Build a backbone, frozen and in evaluation mode, on the CPU.

    Args:
        name: a registered name, an entry point's, or the path of a CLIP checkpoint.

    Raises:
        UserError: the name is unknown, or its weights are missing or broken.
    """
    check_backbone(name)
    backbone = _factory(name)(name)
    backbone.requires_grad_(False)
    return backbone.eval()


def _factory(name: str) -> BackboneFactory:
    if name in factories:
        return factories[name]
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        factory: BackboneFactory = entry_point.load()
        return factory
    return lambda path: build_from_file(path, Path(path))
