"""How large the checks are: on a GPU, and small, so that a CPU does every step in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Sizes of all checks.

    Attributes:
        classes: K, of an epoch and of the attention.
        dim: D.
        locations: S.
        batch: B, of an epoch and of the attention.
        max_pairs: pairs of image and class held at once.
        compared, compared_in_bf16: K, B, S and D where results are compared with the CPU's, which
            may have to emulate bf16.
        train, test: images of an epoch and of an evaluation, to which times are scaled.
        steps: that are measured of each.
        repetitions: of a step of the attention, after as many to warm up as `warm_up`.
        warm_up: steps that are not counted.
        small: whether backbones are tiny ones, and speed is not judged.
        encoded: images of a batch of the image encoder.
        epochs: of the run that is stopped and resumed.
        methods: that are run, none for all.
    """

    classes: int
    dim: int
    locations: int
    batch: int
    max_pairs: int
    compared: tuple[int, int, int, int]
    compared_in_bf16: tuple[int, int, int, int]
    train: int
    test: int
    steps: int
    repetitions: int
    warm_up: int
    small: bool
    encoded: int
    epochs: int
    methods: tuple[str, ...]


FULL = Sizes(
    classes=1000,
    dim=1024,
    locations=49,
    batch=32,
    max_pairs=4096,
    compared=(400, 4, 49, 1024),
    compared_in_bf16=(64, 2, 49, 256),
    train=16_000,
    test=50_000,
    steps=30,
    repetitions=10,
    warm_up=3,
    small=False,
    encoded=64,
    epochs=200,
    methods=(),
)
SMALL = Sizes(
    classes=100,
    dim=128,
    locations=4,
    batch=8,
    max_pairs=64,
    compared=(20, 4, 9, 64),
    compared_in_bf16=(20, 2, 9, 64),
    train=160,
    test=320,
    steps=2,
    repetitions=2,
    warm_up=1,
    small=True,
    encoded=4,
    epochs=60,
    methods=("ZeroshotCLIP",),
)
