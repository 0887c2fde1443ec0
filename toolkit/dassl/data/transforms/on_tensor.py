"""Transforms of an image that is a tensor already."""

import random

import numpy as np
import torch


class Cutout:
    """Set `n_holes` squares with a side of `length` pixels to zero; centres are uniform.

    A square may reach over the border (DeVries and Taylor, arXiv 1708.04552). Drawn on numpy's
    global generator, for each square the row and then the column of its centre.
    """

    def __init__(self, n_holes: int, length: int) -> None:
        """Keep the number and the side of the squares."""
        self.n_holes = n_holes
        self.length = length

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return a copy of an image [C, H, W] with the squares set to zero."""
        height, width = image.shape[-2:]
        image = image.clone()
        half = self.length // 2
        for _ in range(self.n_holes):
            row, column = np.random.randint(height), np.random.randint(width)
            rows = slice(max(row - half, 0), row + half)
            columns = slice(max(column - half, 0), column + half)
            image[..., rows, columns] = 0
        return image

    def __repr__(self) -> str:
        """Return the name and the arguments."""
        return f"Cutout(n_holes={self.n_holes}, length={self.length})"


class GaussianNoise:
    """With probability one half, add independent normal noise to each number of an image.

    Drawn on Python's global `random` (whether) and torch's global generator (the noise).
    """

    def __init__(self, mean: float, std: float) -> None:
        """Keep the mean and the standard deviation of the noise."""
        self.mean = mean
        self.std = std

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return an image [C, H, W] with or without noise."""
        if random.uniform(0, 1) > 0.5:
            return image
        return image + (torch.randn(image.shape) * self.std + self.mean)

    def __repr__(self) -> str:
        """Return the name and the arguments."""
        return f"GaussianNoise(mean={self.mean}, std={self.std})"


class InstanceNormalization:
    """Give each channel of an image mean 0 and standard deviation 1."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image [C, H, W], normalised by its own statistics."""
        flat = image.flatten(1)
        mean, std = flat.mean(dim=1)[:, None, None], flat.std(dim=1)[:, None, None]
        return (image - mean) / (std + 1e-8)

    def __repr__(self) -> str:
        """Return the name."""
        return "InstanceNormalization()"
