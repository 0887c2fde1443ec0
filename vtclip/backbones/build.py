"""From the name of a backbone to the backbone."""

from __future__ import annotations

import hashlib
import inspect
import os
from importlib.metadata import entry_points
from pathlib import Path, PurePath
from typing import Any, get_args
from urllib.parse import quote

from vtclip.backbones.base import Backbone
from vtclip.backbones.builtin import build_from_file
from vtclip.backbones.families import family_name
from vtclip.backbones.registry import (
    FAMILY_SIGN,
    Activation,
    BackboneFactory,
    factories,
    families,
    fold,
)
from vtclip.errors import UserError, unknown_name
from vtclip.files import user_path
from vtclip.kept import kept

ENTRY_POINT_GROUP = "vtclip.backbones"

ACTIVATIONS: tuple[str, ...] = get_args(Activation)


def available_backbones() -> list[str]:
    """Return the names that :func:`build_backbone` takes, sorted."""
    installed = kept(
        "entry points", ENTRY_POINT_GROUP, lambda: entry_points(group=ENTRY_POINT_GROUP)
    )
    return sorted({*factories, *installed.names})


def available_families() -> list[str]:
    """Return the families of names beside them, each as `family:*`, sorted."""
    return sorted(family + FAMILY_SIGN for family in families)


def canonical_name(name: str) -> str:
    """Return a backbone's name as it is registered.

    Case, spaces and the signs - _ / @ make no difference: rn50 is RN50, vit_b32 is ViT-B/32. In a
    name of a family that is so before the colon. What is no registered name, such as the path of a
    file, is returned as it is. A registered name comes before a file of that name, which is reached
    as ./name.

    Raises:
        UserError: two installed packages have names that differ in nothing else.
    """
    names = available_backbones()
    if name in names:
        return name
    alike = [known for known in names if fold(known) == fold(name)]
    if len(alike) > 1:
        raise UserError(
            f"MODEL.BACKBONE.NAME: {name!r} may be {' or '.join(alike)}; write one of them exactly."
        )
    if alike:
        return alike[0]
    of_family = family_name(name)
    return of_family.canonical if of_family else name


def backbone_label(name: str) -> str:
    """Return a backbone's name for use in file names.

    ViT-B/32 is vit_b32, ViT-L/14@336px is vit_l14_336px. A path is its stem and 8 hexadecimal
    digits of the SHA-256 of the absolute path. For families see
    `vtclip.backbones.families.FamilyName.label`.
    """
    name = canonical_name(name)
    is_registered = name in available_backbones()
    of_family = None if is_registered else family_name(name)
    if of_family:
        return quote(of_family.label, safe="")
    if not is_registered and (Path(name).is_file() or Path(name).suffix):
        digest = hashlib.sha256(os.fsencode(Path(name).resolve())).hexdigest()
        return f"{Path(name).stem}-{digest[:8]}"
    plain = name.casefold().replace("/", "").translate(str.maketrans("-@ ", "___"))
    return quote(plain, safe="")


def has_files_of_its_own(name: str) -> bool:
    """Tell whether a backbone is read from the user's files, which no name finds elsewhere."""
    name = canonical_name(name)
    of_family = family_name(name)
    if name in available_backbones():
        return False
    return of_family is None or bool(of_family.path)


def published_name(name: str) -> str:
    """Return a backbone's name without the folder of its file."""
    name = canonical_name(name)
    if not has_files_of_its_own(name):
        return name
    of_family = family_name(name)
    return of_family.published if of_family else PurePath(name).name


def check_backbone(name: str) -> None:
    """Refuse a name that :func:`build_backbone` does not know.

    Which names a family has is known when one is built, since that takes the import of a library.

    Raises:
        UserError: neither a registered name in any spelling, nor of a family, nor a file.
    """
    name = canonical_name(name)
    names = available_backbones()
    if name in names:
        return
    of_family = family_name(name)
    if of_family:
        if of_family.path and not user_path(of_family.path, "MODEL.BACKBONE.NAME").exists():
            raise UserError(f"MODEL.BACKBONE.NAME: {name}: no such file: {of_family.path}")
        return
    if user_path(name, "MODEL.BACKBONE.NAME").is_file():
        return
    if "/" in name and Path(name).suffix:
        raise UserError(f"MODEL.BACKBONE.NAME: no such file: {name}")
    raise unknown_name("MODEL.BACKBONE.NAME", name, [*names, *available_families()])


def build_backbone(name: str, activation: Activation = "auto") -> Backbone:
    """Build a backbone, frozen and in evaluation mode, on the CPU.

    Args:
        name: a registered name in any spelling, an entry point's, one of a family, or the path of a
            CLIP checkpoint.
        activation: of the transformers of a CLIP in OpenAI's layout: "quick_gelu", "gelu", or
            "auto" for QuickGELU, with a printed line where the file is none of OpenAI's.

    Raises:
        UserError: the name or the activation is unknown, the backbone has no choice of it, or its
            weights are missing or broken.
    """
    if activation not in ACTIVATIONS:
        raise unknown_name("MODEL.BACKBONE.ACTIVATION", activation, ACTIVATIONS)
    check_backbone(name)
    name = canonical_name(name)
    factory = _factory(name)
    options: dict[str, Any] = {}
    if _takes_activation(factory):
        options["activation"] = activation
    elif activation != "auto":
        raise UserError(
            f"MODEL.BACKBONE.ACTIVATION: backbone {name} has no choice of it; leave it at auto."
        )
    backbone = factory(name, **options)
    backbone.requires_grad_(False)
    return backbone.eval()


def _takes_activation(factory: BackboneFactory) -> bool:
    return "activation" in inspect.signature(factory).parameters


def _factory(name: str) -> BackboneFactory:
    if name in factories:
        return factories[name]
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        factory: BackboneFactory = entry_point.load()
        return factory
    of_family = family_name(name)
    return families[of_family.family] if of_family else build_from_file
