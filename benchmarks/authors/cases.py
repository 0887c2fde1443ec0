"""The data that both sides run on: folders in the layout of Caltech101, and weights."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from vtclip.files import read_json, write_json

LAYOUT = Path("caltech-101")
IMAGES = LAYOUT / "101_ObjectCategories"
SPLIT = LAYOUT / "split_zhou_Caltech101.json"
Rows = list[tuple[str, int, str]]


@dataclass(frozen=True)
class Case:
    """One setting of the comparison.

    Attributes:
        name: for the table.
        root: data root with Caltech101's layout.
        weights: a state dict in OpenAI's layout.
        image_size: of the backbone, in pixels.
        width: D.
        shots: training images per class.
        classes: names, by label.
        measured_epochs: of training, None for all of them.
        measured_views: of Tip-Adapter's ten, None for all of them.
        our_epochs: of our own training, where it has more; None for all of them.
    """

    name: str
    root: Path
    weights: Path
    image_size: int
    width: int
    shots: int
    classes: tuple[str, ...]
    measured_epochs: int | None
    measured_views: int | None
    our_epochs: int | None

    def rows(self, part: str) -> Rows:
        """Return the rows of a part of the split."""
        return [(path, label, name) for path, label, name in read_json(self.root / SPLIT)[part]]


def write_digits(root: Path) -> tuple[str, ...]:
    """Write the digits in Caltech101's layout; return their classes."""
    from sklearn.datasets import load_digits

    from datasets.digits import CLASSES, make_split, write_images

    write_images(root / IMAGES)
    write_json(root / SPLIT, make_split([int(label) for label in load_digits().target]))
    return CLASSES


def write_part(source: Path, root: Path, classes: int, limits: dict[str, int]) -> tuple[str, ...]:
    """Write a part of Caltech101, its images linked; return its classes.

    Args:
        source: a data root with Caltech101.
        root: of the new one.
        classes: how many, the first ones with enough images; all where it is their number.
        limits: most images per class of each part.
    """
    split = read_json(source / SPLIT)
    by_label: dict[str, dict[int, Rows]] = {part: defaultdict(list) for part in split}
    for part, rows in split.items():
        for path, label, name in rows:
            by_label[part][label].append((path, label, name))
    enough = [
        label
        for label in sorted(by_label["train"])
        if classes == len(by_label["train"]) or len(by_label["train"][label]) >= limits["train"]
    ][:classes]
    draw = random.Random(0)
    kept: dict[str, Rows] = {}
    for part, labelled in by_label.items():
        kept[part] = [
            (path, new, name)
            for new, label in enumerate(enough)
            for path, _, name in draw.sample(
                labelled[label], min(limits[part], len(labelled[label]))
            )
        ]
    (root / LAYOUT).mkdir(parents=True)
    (root / IMAGES).symlink_to((source / IMAGES).resolve())
    write_json(root / SPLIT, kept)
    return tuple(by_label["train"][label][0][2] for label in enough)
