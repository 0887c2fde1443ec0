"""The examples in docstrings, as a reader would type them."""

from __future__ import annotations

import doctest
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

import datasets
import vtclip


def modules() -> Iterator[str]:
    """Names of the modules with public functions; command lines run when they are imported."""
    for package in (vtclip, datasets):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield found.name


@pytest.mark.parametrize("name", modules())
def test_the_examples_of(name: str) -> None:
    failed, _ = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def test_examples_are_found() -> None:
    """A finder that finds nothing would pass too."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [
        test.name
        for name in modules()
        for test in finder.find(import_module(name))
        if test.examples
    ]
    assert "vtclip.commands.train.seed_list" in examples
    assert "vtclip.method.coop_epochs" in examples
