"""Datasets of the CoOp benchmark and others; importing this package registers all of them."""

from __future__ import annotations

import sys
from importlib import import_module

BENCHMARK = (
    "imagenet",
    "caltech101",
    "oxford_pets",
    "stanford_cars",
    "oxford_flowers",
    "food101",
    "fgvc_aircraft",
    "sun397",
    "dtd",
    "eurosat",
    "ucf101",
    "imagenetv2",
    "imagenet_sketch",
    "imagenet_a",
    "imagenet_r",
    "digits",
)
# datasets whose images or features are the user's
OWN = ("image_folder", "feature_bank")


def register_all() -> None:
    """Import every dataset of this package, which enters it in Dassl's registry."""
    for key in (*BENCHMARK, *OWN):
        import_module(f"{__name__}.{key}")


# Python sets this name while it looks for the module of `python -m datasets`, whose command line
# refuses wrong arguments before torch is imported
if sys.argv[:1] != ["-m"]:
    register_all()
