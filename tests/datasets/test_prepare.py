"""From a server to the data root, and what a broken run leaves."""

import io
import json
import os
import tarfile
from pathlib import Path

import fakes
import gdown
import pytest
import requests
import web
from PIL import Image

from datasets import prepare as module
from datasets.base import ImageDataset
from datasets.prepare import prepare
from datasets.sources import Archive, Remote, Single
from datasets.split import Sizes
from vtclip.errors import UserError

IMAGES, SPLIT_FILE, SPLIT = fakes.SPLITS["dtd"]


def picture():
    content = io.BytesIO()
    Image.frombytes("RGB", (16, 16), os.urandom(768)).save(content, "PNG")
    return content.getvalue()


def archive(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture
def pages(monkeypatch):
    """Serve a copy of Describable Textures, in an archive inside another one."""
    cls = ImageDataset.known["dtd"]
    images = [entry[0] for part in SPLIT.values() for entry in part]
    inner = archive({f"./dtd/images/{path}": picture() for path in images})
    with web.serve() as (address, pages):
        pages["/dtd.tgz"] = web.Page(archive({"release/dtd-inner.tgz": inner}))
        pages["/split.json"] = web.Page(json.dumps(SPLIT).encode())
        monkeypatch.setattr(cls, "sizes", Sizes(2, 1, 1, 2))
        monkeypatch.setattr(
            cls,
            "sources",
            (
                Archive(
                    Remote((f"{address}/dtd.tgz",), "dtd.tgz"),
                    (("dtd/images", "dtd/images"),),
                    inner="release/dtd-inner.tgz",
                ),
                Single(Remote((f"{address}/split.json",), "split.json"), SPLIT_FILE),
            ),
        )
        monkeypatch.setattr("vtclip.download.PAUSE_S", 0.01)
        yield pages


def dataset(root):
    return ImageDataset.known["dtd"].at(root)


def test_a_dataset_is_put_in_place(pages, tmp_path, make_cfg):
    assert prepare(dataset(tmp_path)) == Sizes(2, 1, 1, 2)
    assert sorted(path.name for path in (tmp_path / "dtd").iterdir()) == [
        "images",
        "split_zhou_DescribableTextures.json",
    ]
    # nothing of the work is left but the lock
    assert [path.name for path in (tmp_path / ".downloads").iterdir()] == ["dtd.lock"]
    assert len(ImageDataset.known["dtd"](make_cfg(tmp_path, 1)).train_x) == 2


def test_what_is_there_is_not_fetched_again(pages, tmp_path):
    prepare(dataset(tmp_path))
    asked = [len(page.asked) for page in pages.values()]
    prepare(dataset(tmp_path))
    assert [len(page.asked) for page in pages.values()] == asked


def test_an_interrupted_unpack_is_redone(pages, tmp_path, monkeypatch):
    def interrupted(path, folder):
        (folder / "release").mkdir()
        (folder / "release" / "dtd-inner.tgz").write_bytes(b"half")
        raise KeyboardInterrupt

    whole = module.unpack
    monkeypatch.setattr(module, "unpack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(dataset(tmp_path))
    assert not (tmp_path / "dtd").exists()
    monkeypatch.setattr(module, "unpack", whole)
    assert prepare(dataset(tmp_path)) == Sizes(2, 1, 1, 2)
    assert len(pages["/dtd.tgz"].asked) == 1


def test_a_malicious_archive_puts_nothing_in_place_and_is_removed(pages, tmp_path):
    root = tmp_path / "data"
    pages["/dtd.tgz"].content = archive({"release/dtd-inner.tgz": b"", "../../../evil": b"evil"})
    with pytest.raises(UserError, match=r"holds '\.\./\.\./\.\./evil', which leaves the folder"):
        prepare(dataset(root))
    assert not list(tmp_path.rglob("*evil*"))
    assert not (root / "dtd").exists()
    assert not list((root / ".downloads" / "dtd").iterdir())


def test_a_truncated_archive_is_fetched_anew_next_time(pages, tmp_path):
    whole = pages["/dtd.tgz"].content
    pages["/dtd.tgz"].content = whole[: len(whole) // 2]
    with pytest.raises(UserError, match="truncated or corrupt"):
        prepare(dataset(tmp_path))
    pages["/dtd.tgz"].content = whole
    assert prepare(dataset(tmp_path)) == Sizes(2, 1, 1, 2)


def test_an_archive_of_something_else_is_named(pages, tmp_path):
    pages["/dtd.tgz"].content = archive({"README": b"moved"})
    with pytest.raises(UserError, match=r"dtd\.tgz: lacks release/dtd-inner\.tgz"):
        prepare(dataset(tmp_path))


def test_a_split_of_another_size_is_refused_after_all(pages, tmp_path):
    pages["/split.json"].content = json.dumps({**SPLIT, "test": SPLIT["train"][:2]}).encode()
    with pytest.raises(UserError, match=r"2 test \(known: 1\)"):
        prepare(dataset(tmp_path))


def test_a_root_that_cannot_be_written(pages, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        prepare(dataset(tmp_path / "file"))


@pytest.mark.parametrize("key", ["imagenet", "stanford_cars", "sun397"])
@pytest.mark.parametrize("online", [True, False])
def test_manual_datasets_give_the_steps(key, online, tmp_path, monkeypatch):
    def answer(output, **_):
        if not online:
            raise requests.ConnectionError("no network")
        Path(output).write_text("n01440764 tench\n")

    monkeypatch.setattr(gdown, "download", answer)
    dataset = ImageDataset.known[key].at(tmp_path)
    with pytest.raises(UserError, match=f"{key}: to be done by hand: .*{tmp_path}/{key}") as caught:
        prepare(dataset)
    assert "{" not in str(caught.value)
    assert (tmp_path / dataset.sources[0].target).exists() == online


def test_every_benchmark_dataset_can_be_prepared_or_says_how():
    for key, cls in ImageDataset.known.items():
        if key not in ("digits", "image_folder", "feature_bank"):
            assert cls.sources, key
            for source in cls.sources:
                assert all(
                    url.startswith(("https://", "http://", "drive:")) for url in source.remote.urls
                )
