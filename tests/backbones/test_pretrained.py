"""Weights from a server on loopback: resumed, checked, whole or absent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.datasets import web
from vtclip.backbones import pretrained
from vtclip.download import PIECE
from vtclip.errors import UserError

CONTENT = bytes(range(256)) * (8 * PIECE // 256)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTCLIP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("vtclip.download.PAUSE_S", 0.01)
    monkeypatch.setitem(pretrained.OPENAI_WEIGHTS, "RN50", (DIGEST, "RN50.pt"))


def test_a_broken_download_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = web.Page(CONTENT, cuts=[3 * PIECE])
    with web.serve() as (address, pages):
        pages[f"/{DIGEST}/RN50.pt"] = page
        monkeypatch.setattr(pretrained, "BASE_URL", address)
        path = pretrained.find_or_download("RN50")
    assert path.read_bytes() == CONTENT
    assert page.asked == ["", f"bytes={3 * PIECE}-"]
    # the second time nobody is asked
    assert pretrained.find_or_download("RN50") == path


def test_other_bytes_are_refused_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = web.Page(CONTENT[:-1] + b"!")
    with web.serve() as (address, pages):
        pages[f"/{DIGEST}/RN50.pt"] = page
        monkeypatch.setattr(pretrained, "BASE_URL", address)
        with pytest.raises(UserError, match=r"RN50: put RN50\.pt at .*another SHA-256"):
            pretrained.find_or_download("RN50")
    assert not list(pretrained.weights_folder().glob("RN50*"))


def test_a_file_of_the_clip_package_is_taken(tmp_path: Path) -> None:
    theirs = tmp_path / ".cache" / "clip" / "RN50.pt"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(CONTENT)
    assert pretrained.find_or_download("RN50") == theirs
