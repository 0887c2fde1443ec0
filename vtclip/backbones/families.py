"""Names of families: `open_clip:ViT-B-16/laion2b_s34b_b88k`, `hf:folder/of/a/model`.

What stands behind the colon is the family's own. Where it ends in a file, that is told here by its
look alone, since a run may be read on a machine that lacks the file.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePath
from typing import NamedTuple

from vtclip.backbones.registry import families, fold

WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
PATH_SIGNS = ("/", "./", "../", "~")


class FamilyName(NamedTuple):
    """A name of a family in its parts.

    Attributes:
        family: as it is registered, "open_clip".
        rest: what stands behind the colon.
        path: the end of `rest` that is a path of the user's, "" for none.
    """

    family: str
    rest: str
    path: str

    @property
    def canonical(self) -> str:
        """The whole name, with the family as it is registered."""
        return f"{self.family}:{self.rest}"

    @property
    def published(self) -> str:
        """The whole name, with the name of the file alone in the place of its path."""
        if not self.path:
            return self.canonical
        return self.canonical.removesuffix(self.path) + PurePath(self.path).name

    @property
    def label(self) -> str:
        """The name for use in file names.

        open_clip:ViT-B-16/openai is open_clip-vit_b_16-openai. A path is its stem and 8 hexadecimal
        digits of the SHA-256 of the absolute path.
        """
        parts = [self.family, *self.rest.removesuffix(self.path).split("/")]
        plain = [part.casefold().translate(str.maketrans("-@: ", "____")) for part in parts if part]
        if self.path:
            place = Path(self.path).expanduser().resolve()
            digest = hashlib.sha256(os.fsencode(place)).hexdigest()
            plain += [place.stem, digest[:8]]
        return "-".join(plain)


def family_name(name: str) -> FamilyName | None:
    """Return the parts of a name of a family, None for any other name.

    The family may be spelled in any way that names may, such as open-clip.
    """
    stem, colon, rest = name.partition(":")
    known = [family for family in families if fold(family) == fold(stem)]
    if not colon or not known:
        return None
    return FamilyName(known[0], rest, _path_in(rest))


def _path_in(rest: str) -> str:
    model, _, tail = rest.partition("/")
    if rest.startswith(PATH_SIGNS) or _is_there(rest):
        return rest
    if model and (tail.startswith(PATH_SIGNS) or tail.endswith(WEIGHTS)):
        return tail
    return ""


def _is_there(text: str) -> bool:
    # what cannot be a path is not there
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):
        return False
