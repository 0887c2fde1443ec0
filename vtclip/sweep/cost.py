"""What runs cost, by a law that is fitted on the records of sweeps.

Encoding takes so many seconds per image, by backbone. A run of a method takes, with K classes, S
spatial features of width D, batches of B images, N training and M test images,

    steps * (a0 + a1 B K D^2 + a2 B K S D) + c0 + c1 M + c2 N

seconds: products with weights and with spatial features grow as the first two terms of a step
do, and a0 is what a step costs at any size. Coefficients are the non-negative ones with the least
sum of squared relative errors (Lawson and Hanson, Solving Least Squares Problems, 1974, chapter
23). They are of the machine on which the records were made, and of the precision of its runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from vtclip.sweep.record import RunRecord

# numbers of products and of images, so that coefficients are of like size
PRODUCTS, IMAGES = 1e9, 1e3


@dataclass(frozen=True)
class RunSizes:
    """What the cost of a run depends on.

    Attributes:
        classes: K.
        tokens: S, 0 where no spatial features are known.
        width: D.
        batch: B, images of a step.
        steps: of training, 0 for a method without any.
        train_images, test_images: N and M.
    """

    classes: int
    tokens: int
    width: int
    batch: int
    steps: int
    train_images: int
    test_images: int


@dataclass(frozen=True)
class RunLaw:
    """The coefficients of a method: of a step [3], and of the rest of a run [3]."""

    step: tuple[float, ...]
    rest: tuple[float, ...]

    def seconds(self, sizes: RunSizes, faster: float = 1.0) -> float:
        """Return the seconds of a run.

        Args:
            sizes: of it.
            faster: how many times as many products per second another machine makes; what does not
                depend on the size stays.
        """
        step = np.array(self.step) / np.array([1.0, faster, faster])
        rest = np.array(self.rest) / np.array([1.0, faster, faster])
        of_steps = sizes.steps * float(step @ step_terms(sizes))
        return of_steps + float(rest @ rest_terms(sizes))


@dataclass(frozen=True)
class CostModel:
    """What was fitted.

    Attributes:
        image_seconds: of encoding an image, by backbone.
        runs: by method.
    """

    image_seconds: Mapping[str, float]
    runs: Mapping[str, RunLaw]


def step_terms(sizes: RunSizes) -> NDArray[np.float64]:
    """Return the terms of a step [3]: 1, B K D^2 and B K S D, the products in 1e9."""
    products = sizes.batch * sizes.classes * sizes.width / PRODUCTS
    return np.array([1.0, products * sizes.width, products * sizes.tokens])


def rest_terms(sizes: RunSizes) -> NDArray[np.float64]:
    """Return the terms of the rest of a run [3]: 1, M and N, the images in thousands."""
    return np.array([1.0, sizes.test_images / IMAGES, sizes.train_images / IMAGES])


def non_negative_fit(terms: NDArray[np.float64], seconds: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the coefficients of a law [T] with the least squared relative errors.

    Args:
        terms: [N, T], not negative.
        seconds: [N]; what took no time says nothing and is left out.

    >>> non_negative_fit(np.array([[1.0, 0.0], [1.0, 2.0]]), np.array([3.0, 7.0]))
    (3.0, 2.0)
    """
    known = seconds > 0
    if not known.any():
        return (0.0,) * terms.shape[1]
    scaled = terms[known] / seconds[known, None]
    # columns of one length: what is a coefficient in other units has the same fit
    lengths = np.linalg.norm(scaled, axis=0)
    lengths[lengths == 0] = 1.0
    coefficients, _ = nnls(scaled / lengths, np.ones(int(known.sum())))
    return tuple(round(float(value), 12) for value in coefficients / lengths)


def sizes_of(record: RunRecord, tokens: int) -> RunSizes:
    """Return the sizes of a run that has measures; S comes from the encoding of its images."""
    measures = record.measures
    numbers = {
        name: int(measures.get(name, 0))
        for name in ("classes", "width", "batch", "steps", "train_images", "test_images")
    }
    return RunSizes(tokens=tokens, **numbers)


def tokens_by_dataset(records: Sequence[RunRecord]) -> dict[tuple[str, str], int]:
    """Return S by dataset and backbone, from the encodings."""
    return {
        (record.dataset, record.backbone): int(record.measures["tokens"])
        for record in records
        if "tokens" in record.measures
    }


def fit_costs(records: Sequence[RunRecord]) -> CostModel:
    """Fit the law on records of sweeps.

    Runs that wait for images to be encoded (augmented views) have that in "features", which is
    left out: it happens once.

    Args:
        records: those without measures are passed over.
    """
    tokens = tokens_by_dataset(records)
    images: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    runs: defaultdict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        measures = record.measures
        if measures.get("encoded"):
            images[record.backbone].append((measures["encoded"], measures["encode_seconds"]))
        if record.method and "total" in measures:
            runs[record.method].append(record)
    # one constant per image: the total of all encodings
    image_seconds = {
        backbone: sum(seconds for _, seconds in pairs) / sum(count for count, _ in pairs)
        for backbone, pairs in images.items()
    }
    laws = {}
    for method, own in runs.items():
        sizes = [sizes_of(one, tokens.get((one.dataset, one.backbone), 0)) for one in own]
        trained = [
            (size, one.measures.get("train", 0.0) / size.steps)
            for size, one in zip(sizes, own, strict=True)
            if size.steps
        ]
        step: tuple[float, ...] = (0.0, 0.0, 0.0)
        if trained:
            terms = np.array([step_terms(size) for size, _ in trained])
            step = non_negative_fit(terms, np.array([seconds for _, seconds in trained]))
        rest = non_negative_fit(
            np.array([rest_terms(size) for size in sizes]),
            np.array([rest_seconds(one, size) for one, size in zip(own, sizes, strict=True)]),
        )
        laws[method] = RunLaw(step, rest)
    return CostModel(image_seconds, laws)


def rest_seconds(record: RunRecord, sizes: RunSizes) -> float:
    """Return the seconds of a run that are neither those of its steps nor of its features."""
    measures = record.measures
    steps = measures.get("train", 0.0) if sizes.steps else 0.0
    return max(0.0, measures["total"] - measures.get("features", 0.0) - steps)
