"""The glyph bank: every digit, letter and symbol of matplotlib's bundled fonts, drawn once."""

import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GLYPH_SIZE = 64
GLYPH_FILL = 52  # longest side of the drawn glyph; the rest is margin

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

TEXT_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-BoldOblique",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-BoldItalic",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "STIXGeneralItalic",
    "cmb10",
    "cmmi10",
    "cmr10",
    "cmss10",
    "cmti10",
    "cmtt10",
)
SYMBOL_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "STIXGeneral")
# Unicode blocks whose characters are drawn under their own Unicode names.
SYMBOL_BLOCKS = (
    (0x0391, 0x03C9),  # Greek
    (0x0410, 0x044F),  # Cyrillic
    (0x0531, 0x0556),  # Armenian
    (0x05D0, 0x05EA),  # Hebrew
    (0x10D0, 0x10F0),  # Georgian
    (0x1401, 0x14FF),  # Canadian syllabics: few strokes, many rotations of one form
    (0x2D30, 0x2D65),  # Tifinagh
    (0x2190, 0x21FF),  # arrows
    (0x2200, 0x22FF),  # mathematical operators
    (0x2300, 0x23FF),  # technical pictures
    (0x25A0, 0x25FF),  # geometric shapes
    (0x2600, 0x26FF),  # pictograms
    (0x2701, 0x2775),  # dingbats
    (0x2794, 0x27BE),  # arrows again
    (0x2B00, 0x2B54),  # arrows and shapes
    (0x1F600, 0x1F64F),  # faces
)
MAX_NAME_WORDS = 6


@dataclass(frozen=True)
class GlyphBank:
    """Drawn glyphs, several per name.

    Attributes:
        masks: uint8 [N, 64, 64], ink 255.
        names: one name per class, digits first ("zero" .. "nine"), then letters, then symbols.
        members: for each class the rows of `masks` that show it.
        n_digits: number of classes that are digits.
        n_letters: number of classes that are letters.
    """

    masks: Tensor
    names: tuple[str, ...]
    members: tuple[Tensor, ...]
    n_digits: int
    n_letters: int


def font_path(name: str) -> Path:
    """Path of one of matplotlib's bundled TrueType fonts."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"


@cache
def _font(name: str) -> tuple[ImageFont.FreeTypeFont, frozenset[int]]:
    path = str(font_path(name))
    # The basic layout engine needs no optional library, so every Pillow draws the same.
    font = ImageFont.truetype(path, 96, layout_engine=ImageFont.Layout.BASIC)
    return font, frozenset(FT2Font(path).get_charmap())


def draw_glyph(character: str, font_name: str) -> np.ndarray | None:
    """Draw one character centred, longest side 52 of 64 pixels; None if the font lacks it."""
    font, characters = _font(font_name)
    if ord(character) not in characters:
        return None
    canvas = Image.new("L", (288, 288))
    ImageDraw.Draw(canvas).text((80, 80), character, fill=255, font=font)
    box = canvas.getbbox()
    if box is None:
        return None
    ink = canvas.crop(box)
    scale = GLYPH_FILL / max(ink.size)
    width, height = (max(2, round(side * scale)) for side in ink.size)
    ink = ink.resize((width, height), Image.Resampling.BILINEAR)
    glyph = Image.new("L", (GLYPH_SIZE, GLYPH_SIZE))
    glyph.paste(ink, ((GLYPH_SIZE - width) // 2, (GLYPH_SIZE - height) // 2))
    return np.asarray(glyph)


def symbol_name(character: str) -> str | None:
    """Caption name of a symbol, from its Unicode name; None for characters left out.

    Unicode's "black" and "white" mean filled and outlined: as colours they would be wrong.
    """
    name = unicodedata.name(character, "").lower().replace("-", " ")
    name = name.replace("black", "solid").replace("white", "hollow")
    if not name or len(name.split()) > MAX_NAME_WORDS:
        return None
    return name


def _classes() -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(name, characters, fonts) of every class, in the order digits, letters, symbols."""
    classes: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
    for digit, name in enumerate(NUMBERS):
        # U+1D7CE..: the mathematical digits in five styles.
        styles = tuple(chr(0x1D7CE + 10 * style + digit) for style in range(5))
        classes.append((name, (str(digit), *styles), TEXT_FONTS))
    for letter in "abcdefghijklmnopqrstuvwxyz":
        classes.append((f"letter {letter}", (letter,), TEXT_FONTS))
        classes.append((f"capital letter {letter}", (letter.upper(),), TEXT_FONTS))
    for low, high in SYMBOL_BLOCKS:
        for code in range(low, high + 1):
            symbol = symbol_name(chr(code))
            if symbol is not None:
                classes.append((symbol, (chr(code),), SYMBOL_FONTS))
    return classes


@lru_cache(maxsize=1)
def glyph_bank() -> GlyphBank:
    """Draw the whole bank (a few seconds, once per process)."""
    masks: list[np.ndarray] = []
    names: list[str] = []
    members: list[Tensor] = []
    for name, characters, fonts in _classes():
        rows = []
        for character in characters:
            for font in fonts:
                glyph = draw_glyph(character, font)
                if glyph is not None:
                    rows.append(len(masks))
                    masks.append(glyph)
        if rows:
            names.append(name)
            members.append(torch.tensor(rows))
    return GlyphBank(torch.from_numpy(np.stack(masks)), tuple(names), tuple(members), 10, 52)
