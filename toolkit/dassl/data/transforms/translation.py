"""Random shifts of an image."""

import random

from PIL import Image
from torchvision.transforms import functional as F


class RandomTranslation:
    """With probability one half, enlarge an image by an eighth and cut out a part at random.

    The other images are resized only. All are resized bilinearly, whatever INPUT.INTERPOLATION.
    Drawn on Python's global `random`: whether to shift, then the left and the top edge of the part.
    """

    def __init__(self, height: int, width: int) -> None:
        """Keep the size of the result."""
        self.size = [height, width]

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return an image of `size`."""
        if random.uniform(0, 1) > 0.5:
            return F.resize(image, self.size)
        height, width = self.size
        tall, wide = round(height * 1.125), round(width * 1.125)
        image = F.resize(image, [tall, wide])
        left = round(random.uniform(0, wide - width))
        top = round(random.uniform(0, tall - height))
        return F.crop(image, top, left, height, width)

    def __repr__(self) -> str:
        """Return the name and the size."""
        return f"RandomTranslation(size={self.size})"
