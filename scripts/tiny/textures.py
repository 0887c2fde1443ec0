"""Procedural textures and the named colours of the pictures."""

import torch
import torch.nn.functional as F
from torch import Tensor

# RGB in 0..1; a jitter is added when a picture is painted.
COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.05, 0.05, 0.05),
    "grey": (0.5, 0.5, 0.5),
    "white": (0.95, 0.95, 0.95),
    "red": (0.85, 0.12, 0.12),
    "orange": (0.95, 0.55, 0.1),
    "yellow": (0.93, 0.87, 0.2),
    "green": (0.15, 0.6, 0.2),
    "cyan": (0.2, 0.8, 0.85),
    "blue": (0.15, 0.25, 0.8),
    "purple": (0.5, 0.2, 0.65),
    "pink": (0.95, 0.6, 0.75),
    "brown": (0.45, 0.28, 0.12),
}
TEXTURES = (
    "plain",
    "shaded",
    "striped",
    "checkered",
    "dotted",
    "cloudy",
    "grainy",
    "ringed",
    "woven",
)


def uniform(shape: tuple[int, ...], low: float, high: float, rng: torch.Generator) -> Tensor:
    """Uniform random numbers of the given shape in [low, high)."""
    return torch.rand(shape, generator=rng) * (high - low) + low


def smooth_noise(n: int, cells: int, size: int, rng: torch.Generator) -> Tensor:
    """Standard normal noise on a coarse grid, enlarged smoothly: [n, 1, size, size]."""
    coarse = torch.randn((n, 1, cells, cells), generator=rng)
    return F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)


def _texture(kind: str, n: int, size: int, rng: torch.Generator) -> Tensor:
    """One kind of texture with random frequency and direction, 0..1: [n, size, size]."""
    axis = torch.linspace(-1, 1, size)
    angle = uniform((n, 1, 1), 0, torch.pi, rng)
    phase = uniform((n, 1, 1), 0, 2 * torch.pi, rng)
    frequency = torch.exp(uniform((n, 1, 1), 1.6, 3.6, rng))
    u = torch.cos(angle) * axis[None, None, :] + torch.sin(angle) * axis[None, :, None]
    v = torch.cos(angle) * axis[None, :, None] - torch.sin(angle) * axis[None, None, :]
    wave_u = torch.sin(frequency * u + phase)
    wave_v = torch.sin(frequency * v + phase)
    if kind == "plain":
        return torch.zeros((n, size, size))
    if kind == "shaded":
        return (u * 0.5 + 0.5).clamp(0, 1)
    if kind == "striped":
        return torch.sigmoid(wave_u * 4)
    if kind == "checkered":
        return torch.sigmoid(wave_u * wave_v * 8)
    if kind == "dotted":
        return torch.sigmoid((wave_u + wave_v - 1.2) * 6)
    if kind == "woven":
        return 0.5 + 0.25 * wave_u + 0.25 * torch.sin(frequency * 2 * v + phase)
    if kind == "ringed":
        centre = uniform((n, 2, 1, 1), -1, 1, rng)
        radius = (axis[None, None, :] - centre[:, 0]) ** 2 + (
            axis[None, :, None] - centre[:, 1]
        ) ** 2
        return torch.sigmoid(torch.sin(frequency * radius.sqrt() + phase) * 4)
    octaves = (3, 6, 12, 24) if kind == "cloudy" else (24, 48, size)
    noise = sum((smooth_noise(n, cells, size, rng) / 2**i for i, cells in enumerate(octaves)))
    return torch.sigmoid(2 * torch.as_tensor(noise)[:, 0])


def texture_fields(kinds: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Texture of each picture in 0..1.

    Args:
        kinds: indices into `TEXTURES`, [B].
        size: side in pixels.

    Returns:
        [B, 1, size, size].
    """
    fields = torch.zeros((len(kinds), 1, size, size))
    for index, kind in enumerate(TEXTURES):
        rows = (kinds == index).nonzero()[:, 0]
        if len(rows):
            fields[rows, 0] = _texture(kind, len(rows), size, rng)
    return fields
