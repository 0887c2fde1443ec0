"""The site: each page of docs/ is in its contents, and what a page includes is there."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from .conftest import ROOT

DOCS = ROOT / "docs"


def entries(page: Path) -> set[str]:
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return {line for line in lines if line and not line.startswith(":")}


def test_every_page_is_in_the_contents() -> None:
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.glob("*.md")}
    pages |= {f"site/{path.stem}" for path in DOCS.glob("site/*.md")} | {"api/index"}
    assert entries(DOCS / "rivals.md") == {
        f"rivals/{path.stem}" for path in DOCS.glob("rivals/*.md")
    }
    assert entries(DOCS / "index.md") == pages - {"index"}
    assert entries(DOCS / "api" / "index.md") == {
        path.stem for path in DOCS.glob("api/*.md") if path.stem != "index"
    }


@pytest.mark.parametrize("page", sorted(DOCS.glob("site/*.md")), ids=lambda path: path.stem)
def test_what_a_page_includes_is_there(page: Path) -> None:
    text = page.read_text()
    (name,) = re.findall(r"\{include\} (\S+)", text)
    included = (page.parent / name).read_text()
    marks = re.findall(r':(?:start-after|end-before): "(.*)"', text)
    places = [included.index(f"{mark}\n") for mark in marks]
    assert places == sorted(places)


def test_formulas_of_docstrings_are_literal() -> None:
    """Without "::" an indented block is a quotation, in which numbered lines are a list."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("api/*.md"))
    modules = re.findall(r"automodule:: (\S+)", pages)
    assert "vtclip.layers.visual_guided_attention" in modules
    faults = []
    for name in modules:
        before = ""
        for block in (import_module(name).__doc__ or "").split("\n\n"):
            if block.startswith("    ") and not before.startswith("    "):
                faults += [] if before.endswith("::") else [f"{name}: {before.splitlines()[-1]}"]
            before = block
    assert faults == []
