"""Captions: templates over what is in a picture, and which captions hold for which pictures."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .glyphs import NUMBERS, glyph_bank
from .textures import COLOURS, TEXTURES

COLOUR_NAMES = tuple(COLOURS)
UNSAID = -1  # the caption leaves this attribute open
NO_GLYPH = -2  # the picture shows a texture only

# {n} name, {d} digit sign, {c} colour of the glyph, {b} colour and {t} kind of the background.
DIGIT_TEMPLATES: tuple[str, ...] = (
    "a photo of the number {n}.",
    "a photo of a handwritten {n}.",
    "{n}",
    "a scan of the number {n}.",
    "the number {n} written by hand.",
    "the digit {d}",
    "a photo of a {n}.",
    "a {c} {n}.",
    "a photo of the {c} number {n}.",
    "the number {n} on a {b} {t} background.",
)
GLYPH_TEMPLATES: tuple[str, ...] = (
    "a photo of a {n}.",
    "{n}",
    "a drawing of a {n}.",
    "a picture of the {n}.",
    "a photo of a {c} {n}.",
    "the {c} {n}",
    "a {n} on a {b} background.",
    "a {c} {n} on a {b} {t} background.",
)
TEXTURE_TEMPLATES: tuple[str, ...] = (
    "a photo of a {b} {t} texture.",
    "a {t} texture.",
    "{b} {t}",
    "a {b} surface.",
    "a picture of a {t} {b} surface.",
)


@dataclass(frozen=True)
class Attributes:
    """What a batch of pictures shows, each [B]: glyph class (or NO_GLYPH), colours, texture."""

    glyph: Tensor
    colour: Tensor
    background: Tensor
    texture: Tensor

    def stack(self) -> Tensor:
        """All four as [B, 4]."""
        return torch.stack([self.glyph, self.colour, self.background, self.texture], dim=1)


def _pick(n: int, rng: torch.Generator) -> int:
    return int(torch.randint(n, (1,), generator=rng))


def write_captions(shown: Attributes, rng: torch.Generator) -> tuple[list[str], Tensor]:
    """One caption a picture.

    Returns:
        The captions, and what each of them says: [B, 4] as `Attributes.stack`, UNSAID where the
        caption is silent.
    """
    names = glyph_bank().names
    captions: list[str] = []
    said = torch.full((len(shown.glyph), 4), UNSAID)
    for row, (glyph, colour, background, texture) in enumerate(shown.stack().tolist()):
        if glyph == NO_GLYPH:
            templates = TEXTURE_TEMPLATES
        else:
            templates = DIGIT_TEMPLATES if glyph < len(NUMBERS) else GLYPH_TEMPLATES
        template = templates[_pick(len(templates), rng)]
        captions.append(
            template.format(
                n=names[glyph] if glyph >= 0 else "",
                d=glyph,
                c=COLOUR_NAMES[colour],
                b=COLOUR_NAMES[background],
                t=TEXTURES[texture],
            )
        )
        said[row, 0] = glyph
        for column, field, value in (
            (1, "{c}", colour),
            (2, "{b}", background),
            (3, "{t}", texture),
        ):
            if field in template:
                said[row, column] = value
    return captions, said


def true_of(shown: Tensor, said: Tensor) -> Tensor:
    """Which caption is true of which picture.

    Args:
        shown: what the pictures show, [B, 4].
        said: what the captions say, [C, 4], UNSAID where silent.

    Returns:
        bool [B, C].
    """
    return ((said == UNSAID)[None] | (said[None] == shown[:, None])).all(dim=2)
