"""Listings of folders, remembered and not."""

import os
import time

import pytest

from datasets import listing, listing_cache
from datasets.listing import files, image_tree, images, missing_images, subfolders
from datasets.split import Item
from vtclip.errors import UserError


@pytest.fixture
def tree(tmp_path):
    for path in ("b/2.JPG", "b/1.jpeg", "a/deep/x.png", "a/notes.txt", ".hidden/1.jpg", "b/.h.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path


def test_lists_are_sorted_without_hidden_names(tree):
    assert subfolders(tree) == ["a", "b"]
    assert files(tree / "b") == ["1.jpeg", "2.JPG"]
    assert images(tree / "a") == []
    assert image_tree(tree) == ["a/deep/x.png", "b/1.jpeg", "b/2.JPG"]


def test_suffixes_are_those_of_the_formats_that_are_opened(tmp_path):
    names = ["a.JPG", "b.jfif", "c.jpe", "d.ppm", "e.pdf", "f.svg", "jpg", "g.webp", "h.jpg.txt"]
    for name in names:
        (tmp_path / name).touch()
    assert images(tmp_path) == ["a.JPG", "b.jfif", "c.jpe", "g.webp"]


def test_names_longer_than_the_system_allows_are_missing(tree):
    items = [Item(f"{'x' * 300}/1.jpg", 0, "a"), Item(f"b/{'x' * 300}.jpg", 0, "a")]
    assert len(missing_images(tree, items)) == 2


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        files(tmp_path / "nowhere")


def test_each_folder_is_asked_once_and_no_image(tree, monkeypatch):
    asked = []
    scan = os.scandir
    monkeypatch.setattr(listing.os, "scandir", lambda path: asked.append(path) or scan(path))
    items = [Item(p, 0, "a") for p in ("b/1.jpeg", "b/2.JPG", "b/3.jpg", "c/1.jpg", "a/deep/x.png")]
    assert missing_images(tree, items * 10) == ["b/3.jpg", "c/1.jpg"] * 10
    assert len(asked) == 2


def age(folder):
    old = time.time_ns() - 10_000_000_000
    for path in folder.iterdir():
        os.utime(path, ns=(old, old))


def test_a_listing_is_remembered_until_a_folder_changes(tree, monkeypatch):
    (tree / "a" / "deep" / "x.png").rename(tree / "a" / "x.png")
    age(tree)
    expected = {"a": ["notes.txt", "x.png"], "b": ["1.jpeg", "2.JPG"]}
    assert listing_cache.list_class_folders(tree) == expected
    listed = []
    original = listing_cache.files
    monkeypatch.setattr(listing_cache, "files", lambda p: listed.append(p.name) or original(p))
    assert listing_cache.list_class_folders(tree) == expected
    assert listed == []
    (tree / "b" / "3.jpg").touch()
    assert listing_cache.list_class_folders(tree)["b"] == ["1.jpeg", "2.JPG", "3.jpg"]
    assert listed == ["b"]


def test_a_folder_that_just_changed_is_not_remembered(tree):
    listing_cache.list_class_folders(tree)
    assert not listing_cache.cache_folder().exists()


@pytest.mark.parametrize("spoilt", [b"\xff\xfe", b"{}\n", b'["a", 1]\n', b'["a", 1, ["x"\n'])
def test_a_spoilt_memory_is_made_anew(tree, spoilt):
    age(tree)
    expected = listing_cache.list_class_folders(tree)
    (cache,) = listing_cache.cache_folder().iterdir()
    cache.write_bytes(spoilt)
    assert listing_cache.list_class_folders(tree) == expected
    assert cache.read_bytes() != spoilt


def test_a_cache_folder_that_cannot_be_written_is_said_and_survived(tree, monkeypatch, capsys):
    age(tree)
    blocked = tree / "b" / "1.jpeg"
    monkeypatch.setattr(listing_cache, "cache_folder", lambda: blocked / "listings")
    assert listing_cache.list_class_folders(tree)["b"] == ["1.jpeg", "2.JPG"]
    assert "not remembered" in capsys.readouterr().out
