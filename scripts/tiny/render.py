"""Captioned pictures from a seed: glyphs and textures, strongly distorted, a batch at a time.

    python -m scripts.tiny.render --output docs/images/tiny_pictures.png

writes a contact sheet of them.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .captions import COLOUR_NAMES, NO_GLYPH, Attributes, write_captions
from .glyphs import glyph_bank
from .textures import COLOURS, TEXTURES, smooth_noise, texture_fields, uniform

RESOLUTION = 96
# Shares of the kinds of picture: digit, letter, symbol; the rest shows a texture only.
SHARES = (0.25, 0.10, 0.53)
SCAN_SHARES = (0.75, 0.4, 0.3, 0.0)  # how many of each kind look like a small grey scan
CHUNK = 64  # pictures painted together: larger tensors leave the cache and take twice the time
SCAN_SIDES = (8, 8, 10, 12, 16, 24)
PHOTO_SIDES = (16, 32, 48, RESOLUTION, RESOLUTION, RESOLUTION)


@dataclass(frozen=True)
class Pictures:
    """A batch of captioned pictures.

    Attributes:
        images: RGB, uint8 [B, 3, 96, 96].
        captions: one a picture.
        shown: what each picture shows, [B, 4].
        said: what each caption says, [B, 4], UNSAID where it is silent.
    """

    images: Tensor
    captions: list[str]
    shown: Tensor
    said: Tensor


def choose_glyphs(n: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Kind (0 digit, 1 letter, 2 symbol, 3 texture only), class and bank row of n pictures."""
    bank = glyph_bank()
    kind = torch.multinomial(
        torch.tensor([*SHARES, 1 - sum(SHARES)]), n, replacement=True, generator=rng
    )
    bounds = torch.tensor([0, bank.n_digits, bank.n_digits + bank.n_letters, len(bank.names)])
    low = bounds[kind.clamp(max=2)]
    high = bounds[kind.clamp(max=2) + 1]
    glyph = low + (torch.rand(n, generator=rng) * (high - low)).long()
    row = torch.stack(
        [
            bank.members[g][torch.randint(len(bank.members[g]), (1,), generator=rng)[0]]
            for g in glyph.tolist()
        ]
    )
    return kind, torch.where(kind == 3, NO_GLYPH, glyph), row


def vary_strokes(masks: Tensor, rng: torch.Generator) -> Tensor:
    """Make strokes thinner, thicker or softer: [B, 1, 64, 64] in 0..1, same shape back."""
    n = len(masks)
    soft = F.avg_pool2d(F.avg_pool2d(masks, 5, 1, 2), 5, 1, 2)
    # A thin stroke never reaches 1 after the blur: thresholds are relative to its peak.
    soft = soft / soft.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3)
    threshold = uniform((n, 1, 1, 1), 0.12, 0.7, rng)
    slope = uniform((n, 1, 1, 1), 1.5, 6, rng)
    varied = ((soft - threshold) * slope + 0.5).clamp(0, 1)
    keep = torch.rand((n, 1, 1, 1), generator=rng) < 0.25
    return torch.where(keep, masks, varied)


def warp(masks: Tensor, scan: Tensor, rng: torch.Generator) -> Tensor:
    """Random affine and elastic distortion.

    Args:
        masks: [B, 1, 64, 64].
        scan: bool [B]; scans fill the picture, photographs leave room.

    Returns:
        [B, 1, 96, 96].
    """
    n = len(masks)
    turn = uniform((n,), -0.35, 0.35, rng)
    slant = uniform((n,), -0.5, 0.5, rng)
    size = torch.where(scan, uniform((n,), 0.8, 1.25, rng), uniform((n,), 0.45, 1.15, rng))
    aspect = torch.exp(uniform((n,), -0.35, 0.35, rng))
    shift_x = uniform((n,), -0.5, 0.5, rng) * (1.15 - size).clamp(min=0.1)
    shift_y = uniform((n,), -0.5, 0.5, rng) * (1.15 - size).clamp(min=0.1)
    cos, sin = torch.cos(turn), torch.sin(turn)
    wide, high = 1 / (size * aspect), aspect / size
    theta = torch.stack(
        [
            torch.stack([cos * wide, (sin + slant * cos) * wide, shift_x], dim=1),
            torch.stack([-sin * high, (cos - slant * sin) * high, shift_y], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, [n, 1, RESOLUTION, RESOLUTION], align_corners=False)
    strength = uniform((n, 1, 1, 1), 0, 0.11, rng)
    elastic = [smooth_noise(n, 4, RESOLUTION, rng)[:, 0] for _ in range(2)]
    grid = grid + strength * torch.stack(elastic, dim=3)
    return F.grid_sample(masks, grid, align_corners=False)


def paint(colour: Tensor, jitter: float, rng: torch.Generator) -> Tensor:
    """Named colours with some jitter: indices [B] to RGB [B, 3, 1, 1]."""
    palette = torch.tensor(list(COLOURS.values()))
    rgb = palette[colour] + jitter * torch.randn((len(colour), 3), generator=rng)
    return rgb.clamp(0, 1)[:, :, None, None]


def choose_colours(scan: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Different colours of glyph and background, [B] each; scans are black, grey and white."""
    n = len(scan)
    count = len(COLOUR_NAMES)
    glyph = torch.randint(count, (n,), generator=rng)
    ground = (glyph + torch.randint(1, count, (n,), generator=rng)) % count
    light = torch.rand(n, generator=rng) < 0.6
    black, grey, white = (COLOUR_NAMES.index(name) for name in ("black", "grey", "white"))
    bright = torch.where(torch.rand(n, generator=rng) < 0.3, grey, white)
    glyph = torch.where(scan, torch.where(light, bright, black), glyph)
    ground = torch.where(scan, torch.where(light, black, bright), ground)
    return glyph, ground


def rescan(images: Tensor, scan: Tensor, rng: torch.Generator) -> Tensor:
    """Shrink to a random small side and enlarge again, in place: low-resolution scans."""
    n = len(images)
    choice = torch.randint(len(SCAN_SIDES), (n,), generator=rng)
    sides = torch.where(scan, torch.tensor(SCAN_SIDES)[choice], torch.tensor(PHOTO_SIDES)[choice])
    for side in sorted({*SCAN_SIDES, *PHOTO_SIDES} - {RESOLUTION}):
        rows = (sides == side).nonzero()[:, 0]
        if len(rows):
            small = F.interpolate(images[rows], size=(side, side), mode="area")
            images[rows] = F.interpolate(
                small, size=(RESOLUTION, RESOLUTION), mode="bicubic", align_corners=False
            )
    return images


def render(n: int, rng: torch.Generator) -> Pictures:
    """Render n captioned pictures; equal generators give equal pictures."""
    parts = [_render_chunk(min(CHUNK, n - start), rng) for start in range(0, n, CHUNK)]
    return Pictures(
        images=torch.cat([part.images for part in parts]),
        captions=[caption for part in parts for caption in part.captions],
        shown=torch.cat([part.shown for part in parts]),
        said=torch.cat([part.said for part in parts]),
    )


def _render_chunk(n: int, rng: torch.Generator) -> Pictures:
    kind, glyph, row = choose_glyphs(n, rng)
    scan = torch.rand(n, generator=rng) < torch.tensor(SCAN_SHARES)[kind]
    colour, background = choose_colours(scan, rng)
    texture = torch.randint(len(TEXTURES), (n,), generator=rng)
    texture = torch.where(scan, 0, texture)  # scans lie on a plain ground

    masks = glyph_bank().masks[row][:, None].float() / 255
    ink = warp(vary_strokes(masks, rng), scan, rng)
    ink = ink * (kind != 3)[:, None, None, None]

    photo = (~scan).float()[:, None, None, None]
    contrast = uniform((n, 1, 1, 1), 0.25, 0.9, rng)
    tone = paint(torch.randint(len(COLOUR_NAMES), (n,), generator=rng), 0.1, rng)
    ground = paint(background, 0.06, rng)
    pattern = texture_fields(texture, RESOLUTION, rng)
    ground = ground + 0.6 * contrast * pattern * (tone - ground)
    # Another glyph of the batch, faint, behind: photographs are cluttered.
    clutter = ink.roll(1, 0) * photo * (torch.rand((n, 1, 1, 1), generator=rng) < 0.3)
    ground = ground + 0.5 * clutter.roll((20, -24), (2, 3)) * (tone - ground)
    strength = torch.where(scan[:, None, None, None], uniform((n, 1, 1, 1), 0.4, 1, rng), 1)
    relief = 1 + 0.25 * photo * smooth_noise(n, 4, RESOLUTION, rng)
    images = ground + strength * ink * (paint(colour, 0.06, rng) * relief - ground)
    light = 1 + 0.2 * photo * smooth_noise(n, 2, RESOLUTION, rng)

    # In place from here on: these are the only large tensors.
    images = rescan(images.mul_(light).clamp_(0, 1), scan, rng)
    grain = uniform((n, 1, 1, 1), 0, 0.08, rng)
    images.add_(grain * (torch.rand((n, 1, *images.shape[2:]), generator=rng) * 2 - 1))
    images = images.clamp_(0, 1).mul_(255).round_().byte()

    shown = Attributes(glyph, torch.where(kind == 3, NO_GLYPH, colour), background, texture)
    captions, said = write_captions(shown, rng)
    return Pictures(images, captions, shown.stack(), said)


def contact_sheet(rows: int, columns: int, seed: int) -> Image.Image:
    """The first rows x columns pictures of a seed, side by side."""
    images = render(rows * columns, torch.Generator().manual_seed(seed)).images
    grid = images.reshape(rows, columns, 3, RESOLUTION, RESOLUTION).permute(0, 3, 1, 4, 2)
    sheet = grid.reshape(rows * RESOLUTION, columns * RESOLUTION, 3)
    return Image.fromarray(sheet.numpy())


def main() -> None:
    """Write a contact sheet; 64 colours keep the file small."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sheet = contact_sheet(args.rows, args.columns, args.seed)
    sheet = sheet.resize((sheet.width // 2, sheet.height // 2), Image.Resampling.BOX)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(64).save(args.output, optimize=True)


if __name__ == "__main__":
    main()
