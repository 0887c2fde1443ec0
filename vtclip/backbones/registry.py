"""The register of backbones; what fills it is in builtin.py and in the modules of others."""

from __future__ import annotations

from collections.abc import Callable

from vtclip.backbones.base import Backbone

BackboneFactory = Callable[[str], Backbone]

factories: dict[str, BackboneFactory] = {}


def register_backbone(*names: str) -> Callable[[BackboneFactory], BackboneFactory]:
    """Register the decorated factory, which builds a backbone from its name.

    Raises:
        ValueError: a name is taken.
    """

    def register(factory: BackboneFactory) -> BackboneFactory:
        for name in names:
            if name in factories:
                raise ValueError(f"backbone {name} is registered already")
            factories[name] = factory
        return factory

    return register
