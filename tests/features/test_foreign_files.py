"""What lies in the cache folder but is damaged, foreign, or in the hands of another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vtclip.features import Encoding, FeatureStore, image_features
from vtclip.features.__main__ import main
from vtclip.features.store import DAMAGED, CacheEntry

from .stub import StubBackbone

DEEP = 100_000
# what is in the place of encoding.json, and whether the cache may have written it
DAMAGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "empty": (lambda path: path.write_bytes(b""), True),
    "zeros": (lambda path: path.write_bytes(bytes(200)), True),
    "cut": (lambda path: path.write_text('{"format": 1, "weights": "12'), True),
    "list": (lambda path: path.write_text("[1]"), True),
    "number": (lambda path: path.write_text("1e999"), True),
    "deep": (lambda path: path.write_text("[" * DEEP + "]" * DEEP), True),
    "deep value": (lambda path: path.write_text('{"format": [[[[1]]]]}'), True),
    "digits": (lambda path: path.write_text("1" * 10_000), True),
    "UTF-16": (lambda path: path.write_text('{"format": 1}', encoding="utf-16"), True),
    "lacks keys": (lambda path: path.write_text('{"format": 1}'), True),
    "other types": (lambda path: path.write_text('{"view": "\\ud800", "backbone": 3}'), True),
    "huge": (lambda path: path.write_text('{"format": "' + "x" * 2_000_000 + '"}'), True),
    "another program's": (lambda path: path.write_text('{"codec": "h264"}'), False),
    "folder": (lambda path: (path.mkdir(), (path / "thesis").touch()), False),
    "pipe": (lambda path: os.mkfifo(path), False),
    "link": (lambda path: path.symlink_to("thesis"), False),
    "gone": (lambda path: None, True),
}


@pytest.fixture
def entry(tmp_path: Path, paths: list[Path], encoding: Encoding) -> CacheEntry:
    """An entry of ten images; `thesis` in its root is not the cache's."""
    store = FeatureStore(tmp_path / "store")
    image_features(paths, encoding, cache=store, workers=0)
    (store.root / "thesis").write_text("three years")
    return store.entries()[0]


def files_in(folder: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_description(
    kind: str,
    entry: CacheEntry,
    paths: list[Path],
    encoding: Encoding,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage, removable = DAMAGES[kind]
    description = entry.folder / "encoding.json"
    whole, root = description.read_bytes(), entry.folder.parent
    expected = image_features(paths, encoding, cache=None, workers=0).fetch(torch.arange(10))

    def spoil() -> None:
        description.unlink()
        damage(description)
        capsys.readouterr()

    spoil()
    assert main(["ls", "--root", str(root)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if DAMAGED in line]
    assert line.split()[0] == entry.folder.name
    assert line.split()[-3] == "10"

    backbone = encoding.backbone
    assert isinstance(backbone, StubBackbone)
    backbone.encoded = 0
    source = image_features(paths, encoding, cache=FeatureStore(root), workers=0)
    torch.testing.assert_close(
        source.fetch(torch.arange(10)).spatial_features, expected.spatial_features
    )
    assert backbone.encoded == 0
    assert description.read_bytes() == whole
    said = capsys.readouterr().out.splitlines()
    assert len(said) == (kind != "gone")
    assert all(line.startswith(f"{description}: damaged; ") for line in said)
    if not removable and kind != "another program's":
        (entry.folder / "encoding.json.aside").rename(root / "aside")

    spoil()
    before = files_in(entry.folder)
    assert main(["prune", "--root", str(root), "--all"]) == (0 if removable else 1)
    assert files_in(entry.folder) == ({} if removable else before)
    assert entry.folder.exists() is not removable
    if not removable:
        (refusal,) = capsys.readouterr().err.splitlines()
        assert refusal.startswith(f"error: {description}: not written by the feature cache")
    assert (root / "thesis").read_text() == "three years"


def test_a_folder_named_like_an_entry_without_a_file_of_the_cache(tmp_path: Path) -> None:
    folder = tmp_path / ("0123456789abcdef" * 2)
    folder.mkdir()
    for content in ("", "{", '{"format": 1}', json.dumps({"title": "thesis"})):
        (folder / "encoding.json").write_text(content)
        (folder / ("a" * 64 + ".safetensors")).write_text("three years")
        before = files_in(tmp_path)
        assert main(["prune", "--root", str(tmp_path), "--all"]) == 1
        assert main(["verify", "--root", str(tmp_path)]) == 0
        assert files_in(tmp_path) == before


def test_links_are_not_followed(entry: CacheEntry, tmp_path: Path) -> None:
    root = entry.folder.parent
    elsewhere = tmp_path / "elsewhere"
    entry.folder.rename(elsewhere)
    entry.folder.symlink_to(elsewhere)
    before = files_in(elsewhere)
    assert main(["prune", "--root", str(root), "--all"]) == 1
    assert files_in(elsewhere) == before
    assert entry.folder.is_symlink()


def test_writing_and_verify_remove_nothing_of_others(
    entry: CacheEntry, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = entry.shards()[0].path
    foreign = [
        entry.folder / name
        for name in (".notes", "mine.safetensors", f".{shard.name}", "encoding.json.orig")
    ]
    for path in foreign:
        path.write_text("three years")
    named = entry.folder / ("0" * 64 + ".safetensors")
    named.symlink_to(foreign[1])
    leftover = entry.folder / f".{shard.name}.x1y2"
    leftover.write_bytes(b"half")
    assert main(["verify", "--root", str(entry.folder.parent)]) == 0
    with entry.writing():
        assert not leftover.exists()
    for path in (*foreign, named):
        assert path.read_text() == "three years"
    assert shard.exists()


def test_a_removed_entry_is_gone(entry: CacheEntry) -> None:
    same = FeatureStore(entry.folder.parent).entries()[0]
    assert entry.remove() == "removed"
    assert not entry.folder.exists()
    assert same.remove() == "gone"
    assert same.shards() == []
    assert same.remove_damaged() == []
    assert same.last_use == 0


LOOP = """
import sys, time
from vtclip.features.__main__ import main
end = time.time() + float(sys.argv[2])
while time.time() < end:
    for command in (["ls"], ["prune", "--all"], ["verify"], ["prune", "--older-than", "0"]):
        if main([*command, "--root", sys.argv[1]]) != 0:
            sys.exit(3)
        time.sleep(0.01)
"""


def test_commands_beside_a_writer_and_beside_each_other(
    tmp_path: Path, paths: list[Path], encoding: Encoding
) -> None:
    root, seconds = tmp_path / "store", 3
    expected = image_features(paths, encoding, cache=None, workers=0).fetch(torch.arange(10))
    loops = [
        subprocess.Popen(
            [sys.executable, "-c", LOOP, str(root), str(seconds)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    rounds = 0
    while any(loop.poll() is None for loop in loops):
        source = image_features(paths, encoding, cache=FeatureStore(root), workers=0)
        found = source.fetch(torch.arange(10))
        torch.testing.assert_close(found.spatial_features, expected.spatial_features)
        rounds += 1
    for loop in loops:
        _, said = loop.communicate(timeout=60)
        assert (loop.returncode, said) == (0, "")
    assert rounds > 1
