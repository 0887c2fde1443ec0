"""A small file of features, made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASSES, WIDTH, LOCATIONS = 6, 16, 4


def write_bank(path: Path, *, shuffled_test: bool = False) -> Path:
    """Write features that are hard enough for methods to differ on them.

    Args:
        shuffled_test: permute the labels of the test images, which leaves all else as it is.
    """
    draw = np.random.default_rng(0)
    text = draw.normal(size=(CLASSES, WIDTH))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    # images of a class have a direction of their own beside that of the text
    own = draw.normal(size=(CLASSES, WIDTH)) / 4
    arrays: dict[str, np.ndarray] = {"text": text.astype(np.float32)}
    for part, count in (("train", 8), ("val", 8), ("test", 20)):
        labels = np.repeat(np.arange(CLASSES), count)
        centre = 0.6 * text[labels] + own[labels]
        features = centre + draw.normal(size=centre.shape) / 3
        noise = draw.normal(size=(len(labels), LOCATIONS, WIDTH))
        if part == "test" and shuffled_test:
            labels = np.random.default_rng(1).permutation(labels)
        arrays[f"{part}_x"] = features.astype(np.float32)
        arrays[f"{part}_y"] = labels
        arrays[f"{part}_spatial"] = (features[:, None] + noise / 2).astype(np.float32)
    names = np.array([f"thing_{k}" for k in range(CLASSES)])
    np.savez(path, classnames=names, logit_scale=np.float32(20), **arrays)
    return path
