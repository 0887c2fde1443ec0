"""The register of backbones; what fills it is in builtin.py and in the modules of others."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from vtclip.backbones.base import Backbone

Activation = Literal["auto", "quick_gelu", "gelu"]

# from the name to the backbone; one that has a keyword `activation` is given it
BackboneFactory = Callable[..., Backbone]

factories: dict[str, BackboneFactory] = {}


def fold(name: str) -> str:
    """Return a name without what its spellings differ in: case, spaces and the signs - _ / @."""
    return re.sub(r"[-_/@\s]", "", name.casefold())


def register_backbone(*names: str) -> Callable[[BackboneFactory], BackboneFactory]:
    """Register the decorated factory, which builds a backbone from its name.

    Raises:
        ValueError: a name is taken, in this spelling or another.
    """

    def register(factory: BackboneFactory) -> BackboneFactory:
        for name in names:
            for taken in factories:
                if fold(taken) == fold(name):
                    other = "" if taken == name else f", spelled {taken}"
                    raise ValueError(f"backbone {name} is registered already{other}")
            factories[name] = factory
        return factory

    return register
