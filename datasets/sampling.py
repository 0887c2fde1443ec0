"""Which images a run uses: base and new classes, random splits, images that are left."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable

from vtclip.errors import unknown_name

from .split import Item, Lists

SUBSAMPLES = ("all", "base", "new")
MAX_VAL_SHOTS = 4
TRAIN_SHARE, VAL_SHARE = 0.5, 0.2


def kept_labels(labels: Iterable[int], subsample: str) -> dict[int, int]:
    """Return the labels that stay, each with its new label from 0.

    Args:
        labels: of the training images, repeated or not.
        subsample: "all", "base" (the first half of the sorted labels, rounded up) or "new".

    Raises:
        UserError: `subsample` is none of these.
    """
    if subsample not in SUBSAMPLES:
        raise unknown_name("DATASET.SUBSAMPLE_CLASSES", subsample, SUBSAMPLES)
    ordered = sorted(set(labels))
    half = math.ceil(len(ordered) / 2)
    kept = {"all": ordered, "base": ordered[:half], "new": ordered[half:]}[subsample]
    return {old: new for new, old in enumerate(kept)}


def relabel(items: Iterable[Item], labels: dict[int, int]) -> list[Item]:
    """Return the items whose label is a key of `labels`, with the label it maps to."""
    return [
        Item(item.path, labels[item.label], item.classname)
        for item in items
        if item.label in labels
    ]


def without(pool: Iterable[Item], taken: Iterable[Item]) -> list[Item]:
    """Return the items of `pool` that are not among `taken`, in order."""
    paths = {item.path for item in taken}
    return [item for item in pool if item.path not in paths]


def random_lists(names: dict[str, str]) -> Lists:
    """Split images at random, class by class: 50 % train, 20 % val, 30 % test.

    The draw is its own (a fixed seed), so that it is the same in every run and leaves Python's
    global `random`, which few-shot lists depend on, untouched.

    Args:
        names: image path relative to the data root -> class name.
    """
    by_class: dict[str, list[str]] = defaultdict(list)
    for path in sorted(names):
        by_class[names[path]].append(path)
    draw = random.Random(0)
    parts: tuple[list[Item], list[Item], list[Item]] = ([], [], [])
    for label, classname in enumerate(sorted(by_class)):
        paths = by_class[classname]
        draw.shuffle(paths)
        # one image to train on comes first, one to test on second
        train = max(1, round(len(paths) * TRAIN_SHARE))
        val = min(round(len(paths) * VAL_SHARE), max(0, len(paths) - train - 1))
        for part, chosen in zip(
            parts, (paths[:train], paths[train : train + val], paths[train + val :]), strict=True
        ):
            part.extend(Item(path, label, classname) for path in chosen)
    return Lists(*parts, comparable=False)
