"""The `clip` package, imported so that it works on a fresh install; import it from here alone."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

import packaging.version


@contextmanager
def _packaging_as_pkg_resources() -> Iterator[None]:
    """Lend the `clip` package the one name it takes from pkg_resources.

    That module is gone from setuptools 82, and slow to import and full of warnings before.
    """
    missing = "pkg_resources" not in sys.modules
    if missing:
        stand_in = types.ModuleType("pkg_resources")
        stand_in.packaging = packaging  # type: ignore[attr-defined]
        sys.modules["pkg_resources"] = stand_in
    try:
        yield
    finally:
        if missing:
            del sys.modules["pkg_resources"]


with _packaging_as_pkg_resources():
    from clip import tokenize
    from clip.model import CLIP, build_model
    from clip.simple_tokenizer import SimpleTokenizer

__all__ = ["CLIP", "SimpleTokenizer", "build_model", "tokenize"]
