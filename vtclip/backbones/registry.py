"""Names of backbones, those of this package and those of others."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from vtclip.backbones.base import Backbone
from vtclip.errors import UserError, unknown_name

ENTRY_POINT_GROUP = "vtclip.backbones"

BackboneFactory = Callable[[str], Backbone]

_factories: dict[str, BackboneFactory] = {}


def register_backbone(*names: str) -> Callable[[BackboneFactory], BackboneFactory]:
    """Register the decorated factory, which builds a backbone from its name.

    Raises:
        ValueError: a name is taken.
    """

    def register(factory: BackboneFactory) -> BackboneFactory:
        for name in names:
            if name in _factories:
                raise ValueError(f"backbone {name} is registered already")
            _factories[name] = factory
        return factory

    return register


def available_backbones() -> list[str]:
    """Return the names that :func:`build_backbone` knows, sorted."""
    import vtclip.backbones.openai_clip  # noqa: F401  (registers its names)

    return sorted({*_factories, *entry_points(group=ENTRY_POINT_GROUP).names})


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
    if name in _factories:
        factory = _factories[name]
    elif name in available_backbones():
        (entry_point,) = entry_points(group=ENTRY_POINT_GROUP, name=name)
        factory = entry_point.load()
    else:
        from vtclip.backbones.openai_clip import OpenAIBackbone

        factory = OpenAIBackbone.from_file
    backbone = factory(name)
    backbone.requires_grad_(False)
    return backbone.eval()
