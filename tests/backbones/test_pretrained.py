"""Weights from a server on loopback: resumed, checked, whole or absent."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.datasets import web
from vtclip.backbones import pretrained
from vtclip.download import PIECE
from vtclip.errors import UserError
from vtclip.files import read_json, sha256_of_file

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
    # the second time there is no server
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


def test_another_file_of_the_clip_package_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    theirs = tmp_path / ".cache" / "clip" / "RN50.pt"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(CONTENT[:100])
    with web.serve() as (address, pages):
        pages[f"/{DIGEST}/RN50.pt"] = web.Page(CONTENT)
        monkeypatch.setattr(pretrained, "BASE_URL", address)
        path = pretrained.find_or_download("RN50")
    assert path == pretrained.weights_folder() / "RN50.pt"
    assert f"{theirs}: not OpenAI's RN50" in capsys.readouterr().out
    assert theirs.read_bytes() == CONTENT[:100]


def test_another_file_under_the_name_is_not_used() -> None:
    target = pretrained.weights_folder() / "RN50.pt"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(UserError, match=r"RN50\.pt: not OpenAI's RN50 .*not used; delete"):
        pretrained.find_or_download("RN50")
    assert target.read_bytes() == CONTENT[:-1] + b"!"


def test_a_file_is_hashed_once_until_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    target = pretrained.weights_folder() / "RN50.pt"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    hashed = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256_of_file(path)

    monkeypatch.setattr(pretrained, "sha256_of_file", counted)
    for _ in range(3):
        assert pretrained.find_or_download("RN50") == target
    assert hashed == [target]
    # of the same size
    target.write_bytes(CONTENT[:-1] + b"!")
    os.utime(target, ns=(1, 1))
    with pytest.raises(UserError, match="another SHA-256"):
        pretrained.find_or_download("RN50")
    assert hashed == [target, target]


@pytest.mark.parametrize("record", ["", "[]", '{"%s": 3}', '{"%s": [1, 2, 3]}'])
def test_a_damaged_record_of_digests_is_written_anew(record: str) -> None:
    target = pretrained.weights_folder() / "RN50.pt"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    digests = target.with_name(pretrained.DIGESTS)
    digests.write_text(record.replace("%s", str(target)))
    assert pretrained.find_or_download("RN50") == target
    assert read_json(digests)[str(target)][2] == DIGEST


def test_digests_need_no_folder_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    # a file in the place of the folder
    monkeypatch.setenv("VTCLIP_WEIGHTS", str(tmp_path / "file" / "folder"))
    assert pretrained.remembered_sha256(tmp_path / "file") == DIGEST
