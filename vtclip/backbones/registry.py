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
# by what stands before the colon of their names
families: dict[str, BackboneFactory] = {}

FAMILY_SIGN = ":*"


def fold(name: str) -> str:
    """Return a name without what its spellings differ in: case, spaces and the signs - _ / @."""
    return re.sub(r"[-_/@\s]", "", name.casefold())


def register_backbone(*names: str) -> Callable[[BackboneFactory], BackboneFactory]:
    """Register the decorated factory, which builds a backbone from its name.

    A name that ends in `:*` stands for all names that begin as it does, a family:
    `register_backbone("my_zoo:*")` builds `my_zoo:small` and `my_zoo:weights/of/mine.pt`.

    Raises:
        ValueError: a name is taken, in this spelling or another.
    """

    def register(factory: BackboneFactory) -> BackboneFactory:
        for name in names:
            stem = name.removesuffix(FAMILY_SIGN)
            known = factories if stem == name else families
            for taken in known:
                if fold(taken) == fold(stem):
                    other = "" if taken == stem else f", spelled {taken}"
                    raise ValueError(f"backbone {name} is registered already{other}")
            known[stem] = factory
        return factory

    return register
