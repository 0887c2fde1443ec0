"""Handwritten digits, written from scikit-learn's 1,797 real ones on first use.

The split is fixed by the file in the package: class by class, the images in scikit-learn's order
are shuffled by `random.Random(0)`; the first 40 % (rounded) are the training pool, the next 20 %
val, the rest test. :func:`make_split` is that procedure.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from filelock import FileLock

from vtclip.errors import UserError

from .base import SplitDataset
from .split import Sizes

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLIT = Path(__file__).parent / "splits" / "split_vtclip_Digits.json"
LARGEST_VALUE = 16


def make_split(labels: list[int]) -> dict[str, list[tuple[str, int, str]]]:
    """Return the split of images with these `labels`, in the form of a split file."""
    draw = random.Random(0)
    parts: dict[str, list[tuple[str, int, str]]] = {"train": [], "val": [], "test": []}
    for label, name in enumerate(CLASSES):
        numbers = [number for number, value in enumerate(labels) if value == label]
        draw.shuffle(numbers)
        first, second = round(len(numbers) * 0.4), round(len(numbers) * 0.6)
        chosen = (numbers[:first], numbers[first:second], numbers[second:])
        for part, rows in zip(parts.values(), chosen, strict=True):
            part.extend((f"{name}/{number:04d}.png", label, name) for number in sorted(rows))
    return parts


def write_images(folder: Path) -> None:
    """Write all digits as 8 x 8 greyscale PNG files, `folder`/CLASS/NNNN.png.

    The folder appears whole or not at all; several processes may call this at once.

    Raises:
        UserError: the folder cannot be written.
    """
    if folder.is_dir():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / ".images.lock"):
            if not folder.is_dir():
                _write(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}).") from error


def _write(folder: Path) -> None:
    # a few seconds to import, and needed once in the life of a data root
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = (digits.images * 255 / LARGEST_VALUE).round().astype("uint8")
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".images-"))
    try:
        for name in CLASSES:
            (temporary / name).mkdir()
        for number, (pixels, label) in enumerate(zip(grey, digits.target, strict=True)):
            Image.fromarray(pixels).save(temporary / CLASSES[label] / f"{number:04d}.png")
        # mkdtemp makes folders that only their owner can enter
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@DATASET_REGISTRY.register()
class Digits(SplitDataset):
    """Ten classes of real handwriting that need no download."""

    key = "digits"
    dataset_dir = "digits"
    image_dir = "images"
    split_file = SPLIT.name
    sizes = Sizes(719, 359, 719, 10)

    @property
    def split_path(self) -> Path:
        """The split file, which comes with the package."""
        return SPLIT

    @property
    def remedy(self) -> str:
        """What to do where files are missing."""
        return f"remove {self.folder}, it is written again on next use"

    def require_folder(self) -> None:
        """Write the images where they are missing."""
        write_images(self.folder / self.image_dir)
