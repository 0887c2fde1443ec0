"""Datasets of the CoOp benchmark and others; importing this package registers all of them."""

from __future__ import annotations

import sys
from importlib import import_module

KEYS = (
    "digits",
    "caltech101",
)


def register_all() -> None:
    """Import every dataset of this package, which enters it in Dassl's registry."""
    for key in KEYS:
        import_module(f"{__name__}.{key}")


# Python sets this name while it looks for the module of `python -m datasets`, whose command line
# answers wrong arguments before it pays for importing torch
if sys.argv[:1] != ["-m"]:
    register_all()
