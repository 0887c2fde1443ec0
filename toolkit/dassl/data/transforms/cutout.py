"""Random squares set to zero."""

import torch


class Cutout:
    """Set `n_holes` squares with a side of `length` pixels to zero; centres are uniform.

    A square may reach over the border (DeVries and Taylor, arXiv 1708.04552).
    """

    def __init__(self, n_holes: int, length: int) -> None:
        """Keep the number and the side of the squares."""
        self.n_holes = n_holes
        self.length = length

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return a copy of an image [C, H, W] with the squares set to zero."""
        height, width = image.shape[-2:]
        image = image.clone()
        for _ in range(self.n_holes):
            top = int(torch.randint(height, (1,))) - self.length // 2
            left = int(torch.randint(width, (1,))) - self.length // 2
            rows = slice(max(top, 0), max(top + self.length, 0))
            columns = slice(max(left, 0), max(left + self.length, 0))
            image[..., rows, columns] = 0
        return image
