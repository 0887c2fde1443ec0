"""From a server to the data root, and what a broken run leaves."""

import hashlib
import io
import json
import multiprocessing
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import fakes
import gdown
import pytest
import requests
import web
from PIL import Image

import datasets
from datasets import prepare as module
from datasets.base import ImageDataset
from datasets.download import fault_of
from datasets.imagenet import check_classnames
from datasets.prepare import prepare
from datasets.sources import Archive, Remote, Single, check_split
from datasets.split import Sizes
from tests.fuzz.common import within
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
                Single(Remote((f"{address}/split.json",), "split.json"), SPLIT_FILE, check_split),
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
        Path(output).write_text(content[key])

    content = {key: json.dumps(fakes.SPLITS[key][2]) for key in ("stanford_cars", "sun397")}
    fakes.write_classnames(tmp_path / "names")
    content["imagenet"] = (tmp_path / "names/classnames.txt").read_text()
    monkeypatch.setattr(gdown, "download", answer)
    dataset = ImageDataset.known[key].at(tmp_path)
    with pytest.raises(UserError, match=f"{key}: to be done by hand: .*{tmp_path}/{key}") as caught:
        prepare(dataset)
    assert "{" not in str(caught.value)
    # the content is made up, so that a file whose digest is known is not put in place
    source = dataset.sources[0]
    assert (tmp_path / source.target).exists() == (online and not source.remote.sha256)


def test_every_benchmark_dataset_can_be_prepared_or_says_how():
    for key in datasets.BENCHMARK:
        cls = ImageDataset.known[key]
        # what has no sources is written by the project itself
        assert cls.sources or "require_folder" in vars(cls), key
        for source in cls.sources:
            assert all(
                url.startswith(("https://", "http://", "drive:")) for url in source.remote.urls
            )


HTML = b"\n<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HTML, "is a page of HTML"),
        (b"quota exceeded", "not JSON"),
        (b"{}", "lacks one of train, val, test"),
        (b'{"train": [], "val": [], "test": []}', "has no test images"),
    ],
)
def test_what_is_no_split_file_is_never_installed(content, message, pages, tmp_path):
    good = pages["/split.json"].content
    pages["/split.json"].content = content
    with pytest.raises(UserError, match=rf"split\.json: cannot be downloaded .*{message}"):
        prepare(dataset(tmp_path))
    assert not (tmp_path / SPLIT_FILE).exists()
    pages["/split.json"].content = good
    assert prepare(dataset(tmp_path)) == Sizes(2, 1, 1, 2)


def know_the_digest(monkeypatch):
    cls = ImageDataset.known["dtd"]
    archive, split = cls.sources
    digest = hashlib.sha256(json.dumps(SPLIT).encode()).hexdigest()
    known = replace(split, remote=replace(split.remote, sha256=digest))
    monkeypatch.setattr(cls, "sources", (archive, known))


def test_a_split_file_of_another_digest_is_refused(pages, tmp_path, monkeypatch):
    know_the_digest(monkeypatch)
    pages["/split.json"].content = json.dumps(SPLIT, indent=1).encode()
    with pytest.raises(UserError, match=r"has SHA-256 [0-9a-f]{64}, known is [0-9a-f]{64}"):
        prepare(dataset(tmp_path))
    assert not (tmp_path / SPLIT_FILE).exists()


@pytest.mark.parametrize("bad", [HTML, b"[]", json.dumps(SPLIT, indent=1).encode()])
def test_a_bad_file_that_is_installed_is_set_aside(bad, pages, tmp_path, monkeypatch, capsys):
    know_the_digest(monkeypatch)
    prepare(dataset(tmp_path))
    target = tmp_path / SPLIT_FILE
    for number in (1, 2):
        target.write_bytes(bad)
        assert prepare(dataset(tmp_path)) == Sizes(2, 1, 1, 2)
        assert json.loads(target.read_text()) == json.loads(json.dumps(SPLIT))
        aside = target.with_name(f"{target.name}.set-aside-{number}")
        assert aside.read_bytes() == bad
        assert f"{target}: not the known file" in (out := capsys.readouterr().out)
        assert f"set aside as {aside}" in out
    assert len(pages["/dtd.tgz"].asked) == 1


def test_a_pipe_in_the_place_of_a_file_is_set_aside(pages, tmp_path):
    prepare(dataset(tmp_path))
    target = tmp_path / SPLIT_FILE
    target.unlink()
    os.mkfifo(target)
    with within(20):
        assert prepare(dataset(tmp_path)) == Sizes(2, 1, 1, 2)
    assert target.is_file()
    assert target.with_name(f"{target.name}.set-aside-1").is_fifo()


def test_a_bad_file_stays_where_the_right_one_cannot_be_had(pages, tmp_path, monkeypatch):
    know_the_digest(monkeypatch)
    prepare(dataset(tmp_path))
    (tmp_path / SPLIT_FILE).write_bytes(b"[]")
    pages["/split.json"].status = 404
    with pytest.raises(UserError, match=r"not the known file \(has SHA-256.*HTTP status 404"):
        prepare(dataset(tmp_path))
    assert (tmp_path / SPLIT_FILE).read_bytes() == b"[]"


def test_a_bad_file_fetched_by_hand_is_named(pages, tmp_path):
    work = tmp_path / ".downloads" / "dtd"
    work.mkdir(parents=True)
    (work / "split.json").write_bytes(HTML)
    with pytest.raises(UserError, match=r"dtd/split\.json: is a page of HTML; remove it"):
        prepare(dataset(tmp_path))


def prepare_in(root):
    return prepare(dataset(root))


def test_three_processes_at_once(pages, tmp_path):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        sizes = pool.map(prepare_in, [tmp_path] * 3, chunksize=1)
    assert sizes == [Sizes(2, 1, 1, 2)] * 3
    assert [len(page.asked) for page in pages.values()] == [1, 1]
    assert [path.name for path in (tmp_path / ".downloads").iterdir()] == ["dtd.lock"]


@pytest.mark.parametrize("key", sorted(datasets.BENCHMARK))
def test_known_digests_are_those_of_the_official_files(key, real_data):
    for source in ImageDataset.known[key].sources:
        name = Path(source.remote.name).name
        for folder in ("splits", "caltech-101"):
            if isinstance(source, Single) and (real_data / folder / name).is_file():
                assert source.remote.sha256
                assert fault_of(real_data / folder / name, source.remote, source.check) == ""


def test_names_of_imagenet_are_checked_before_they_are_installed(tmp_path, real_data):
    check_classnames(real_data / "splits/imagenet_classnames.txt")
    path = tmp_path / "classnames.txt"
    for text, message in (
        ("n01440764 tench\n", "it has 1 lines"),
        ("tench fish\n", "'tench' is no folder of ImageNet"),
        (HTML.decode(), "sorted order|no folder of ImageNet|no class name"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            check_classnames(path)
