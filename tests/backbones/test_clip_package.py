"""The tokens of prompts against the clip package's own."""

from __future__ import annotations

import sys
import types

import packaging.version
import pytest

from vtclip.backbones.clip_package import tokenize

TEXTS = [
    "a photo of a cat.",
    "",
    "Éclair &amp; naïve  café, 3 dogs' OWN <|endoftext|>",
    "word " * 20,
    "word " * 75,
]


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    # the one name that it takes of a module that is gone from setuptools
    stand_in = types.ModuleType("pkg_resources")
    monkeypatch.setattr(stand_in, "packaging", packaging, raising=False)
    monkeypatch.setitem(sys.modules, "pkg_resources", stand_in)
    return pytest.importorskip("clip.clip")


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("length", [77, 22])
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_the_package(
    text: str, length: int, truncate: bool, theirs: types.ModuleType
) -> None:
    try:
        expected = theirs.tokenize(text, length, truncate)
    except RuntimeError:
        with pytest.raises(RuntimeError, match=f"of at most {length}"):
            tokenize(text, length, truncate)
    else:
        assert tokenize(text, length, truncate).equal(expected)


def test_several_texts(theirs: types.ModuleType) -> None:
    assert tokenize(TEXTS).equal(theirs.tokenize(TEXTS))
