"""Scenes with one target among clutter, with its mask, from fixed seeds.

    python -m benchmarks.scenes data/scenes

writes images/{train,val,test}/CLASS/NNN.png, a folder of photos for dataset ImageFolder, and
masks/{train,val,test}/CLASS/NNN.png, white where the target is. A target is a printed digit, whose
class is its name; clutter is parts of letters, strokes and grain. The centre of the target lies in
each of 3 x 3 cells equally often in the long run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from scripts.tiny.glyphs import NUMBERS, draw_glyph
from vtclip.errors import run_command
from vtclip.files import atomic_path, user_path

SIDE, CELLS = 96, 3
# scenes per class
COUNTS = {"train": 40, "val": 4, "test": 50}
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "cmss10")
LETTERS = "ABDEFGHKMNPQRTUWXY"
# height of an upright target in pixels, its rotation in degrees, how far it is from a cell's centre
HEIGHTS, TURN, JITTER = (48, 60), 10.0, 5
FRAGMENTS, STROKES, GRAIN = 3, 2, 0.03
# contrast with the background, of brightness 0 to 1
TARGET_CONTRAST, CLUTTER_CONTRAST = 0.6, 0.25

Pixels = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """The layers of a scene, values 0 to 1.

    Attributes:
        ground: background and clutter [96, 96, 3].
        ink: how much of a pixel the target covers [96, 96].
        colour: of the target [3].
        grain: added to all of it [96, 96, 3].
    """

    ground: Pixels
    ink: Pixels
    colour: Pixels
    grain: Pixels

    @property
    def image(self) -> Image.Image:
        """The picture, RGB."""
        pixels = _over(self.ground, self.ink, self.colour) + self.grain
        return Image.fromarray((255 * pixels.clip(0, 1)).round().astype(np.uint8))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The smallest upright rectangle around the ink [96, 96]."""
        rows, columns = np.flatnonzero(self.ink.max(1)), np.flatnonzero(self.ink.max(0))
        mask = np.zeros(self.ink.shape, bool)
        mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        return mask


def draw_scene(label: int, seed: Sequence[int]) -> Scene:
    """Draw the scene of a seed.

    Args:
        label: the digit, 0 to 9.
        seed: any whole numbers from 0.
    """
    draw = np.random.default_rng([label, *seed])
    dark = draw.random() < 0.5
    base = draw.uniform(0.05, 0.2, 3) if dark else draw.uniform(0.8, 0.95, 3)
    away = 1.0 if dark else -1.0
    ground = np.broadcast_to(base, (SIDE, SIDE, 3)).astype(np.float32)
    for _ in range(FRAGMENTS):
        ground = _over(ground, _fragment(draw), base + away * _contrast(draw, CLUTTER_CONTRAST))
    for _ in range(STROKES):
        ground = _over(ground, _stroke(draw), base + away * _contrast(draw, CLUTTER_CONTRAST))
    ink = _target(label, draw)
    colour = (base + away * _contrast(draw, TARGET_CONTRAST)).astype(np.float32)
    grain = draw.normal(0, GRAIN, (SIDE, SIDE, 3)).astype(np.float32)
    return Scene(ground, ink, colour, grain)


def write_scenes(folder: Path, counts: dict[str, int] = COUNTS) -> None:
    """Write scenes and their masks; the same files whenever it is called.

    Args:
        folder: for `images` and `masks`.
        counts: scenes per class of each part.
    """
    for number, (part, count) in enumerate(counts.items()):
        for label, name in enumerate(NUMBERS):
            for kind in ("images", "masks"):
                (folder / kind / part / name).mkdir(parents=True, exist_ok=True)
            for scene_number in range(count):
                scene = draw_scene(label, (number, scene_number))
                file = f"{part}/{name}/{scene_number:03d}.png"
                _save(scene.image, folder / "images" / file)
                _save(Image.fromarray(scene.mask), folder / "masks" / file)


def _save(image: Image.Image, path: Path) -> None:
    # another process may read the scenes that this one writes again
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _contrast(draw: np.random.Generator, mean: float) -> Pixels:
    return draw.uniform(mean - 0.15, mean + 0.15, 3).astype(np.float32)


def _over(ground: Pixels, ink: Pixels, colour: Pixels) -> Pixels:
    return ground + ink[..., None] * (colour.astype(np.float32) - ground)


def _glyph(character: str, draw: np.random.Generator) -> Image.Image:
    """Return a character in a random font, cut to its ink."""
    glyph = draw_glyph(character, FONTS[draw.integers(len(FONTS))])
    assert glyph is not None  # every font has digits and capital letters
    image = Image.fromarray(glyph)
    return image.crop(image.getbbox())


def _share(canvas: Image.Image) -> Pixels:
    """Return brightness 0 to 255 as 0 to 1."""
    return (np.asarray(canvas, np.float32) / 255).astype(np.float32)


def _placed(ink: Image.Image, left: int, top: int) -> Pixels:
    canvas = Image.new("L", (SIDE, SIDE))
    canvas.paste(ink, (left, top))
    return _share(canvas)


def _target(label: int, draw: np.random.Generator) -> Pixels:
    ink = _glyph(str(label), draw)
    height = int(draw.integers(HEIGHTS[0], HEIGHTS[1] + 1))
    ink = ink.resize((round(ink.width * height / ink.height), height), Image.Resampling.BICUBIC)
    ink = ink.rotate(draw.uniform(-TURN, TURN), Image.Resampling.BICUBIC, expand=True)
    ink = ink.crop(ink.getbbox())
    cell, shift = draw.integers(CELLS, size=2), draw.integers(-JITTER, JITTER + 1, 2)
    centre = (2 * cell + 1) * SIDE // (2 * CELLS) + shift
    # whole in the picture
    left, top = (
        int(min(max(place - size // 2, 0), SIDE - size))
        for place, size in zip(centre, ink.size, strict=True)
    )
    return _placed(ink, left, top)


def _fragment(draw: np.random.Generator) -> Pixels:
    """Return the upper half of a turned letter somewhere."""
    letter = _glyph(LETTERS[draw.integers(len(LETTERS))], draw)
    letter = letter.rotate(draw.uniform(0, 360), Image.Resampling.BICUBIC, expand=True)
    half = letter.crop((0, 0, letter.width, letter.height // 2))
    left, top = draw.integers(-half.width // 2, SIDE - half.width // 2, 2)
    return _placed(half, int(left), int(top))


def _stroke(draw: np.random.Generator) -> Pixels:
    canvas = Image.new("L", (SIDE, SIDE))
    ends = [int(place) for place in draw.integers(SIDE, size=4)]
    ImageDraw.Draw(canvas).line(ends, fill=255, width=int(draw.integers(1, 4)))
    return _share(canvas)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="DIR", help="where the scenes go")
    folder = user_path(parser.parse_args().folder, "DIR")
    write_scenes(folder)
    print(f"{folder}: {sum(COUNTS.values()) * len(NUMBERS)} scenes")


if __name__ == "__main__":
    sys.exit(run_command(main))
