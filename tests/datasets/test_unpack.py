"""Archives from strangers."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from datasets import unpack as module
from datasets.unpack import BadArchive, unpack

FILES = {"images/a b.jpg": b"1" * 5000, "images/deep/c.jpg": os.urandom(5000)}


def tar_member(name, content=b"", kind=tarfile.REGTYPE, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size, member.mode = kind, link, len(content), 0o777
    return member, io.BytesIO(content)


def write_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for member, content in members:
            tar.addfile(member, content)
    return path


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def good(path):
    if path.suffix == ".zip":
        return write_zip(path, FILES)
    mode = {".tar": "w", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[path.suffix]
    folder = tar_member("images/", kind=tarfile.DIRTYPE)
    return write_tar(path, [folder, *(tar_member(n, c) for n, c in FILES.items())], mode)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


KINDS = ["x.tar", "x.tgz", "x.bz2", "x.xz", "x.zip"]


@pytest.mark.parametrize("name", KINDS)
def test_files_come_out_as_they_went_in(name, tmp_path):
    unpack(good(tmp_path / name), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    for path in (tmp_path / "out").rglob("*.jpg"):
        assert not path.stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_truncated_archives_are_refused(name, share, tmp_path):
    path = good(tmp_path / name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BadArchive, match=f"{name}: "):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("name", KINDS[1:])
def test_corrupt_archives_are_refused(name, tmp_path):
    path = good(tmp_path / name)
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 40):
        content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BadArchive, match=f"{name}: truncated or corrupt"):
        unpack(path, tmp_path / "out")


def test_a_checksum_behind_the_last_file_is_compared(tmp_path):
    path = good(tmp_path / "x.tgz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BadArchive, match="truncated or corrupt"):
        unpack(path, tmp_path / "out")


LEAVING = ["../evil.jpg", "/tmp/evil.jpg", "images/../../evil.jpg", "..\\evil.jpg", "C:/evil.jpg"]


@pytest.mark.parametrize("name", LEAVING)
@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_paths_that_leave_the_folder_are_refused(name, kind, tmp_path):
    files = {"images/a.jpg": b"1", name: b"evil"}
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        write_zip(path, files)
    else:
        write_tar(path, [tar_member(n, c) for n, c in files.items()])
    out = tmp_path / "deep" / "out"
    with pytest.raises(BadArchive, match="leaves the folder"):
        unpack(path, out)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_in_tar_files_are_refused(kind, tmp_path):
    members = [
        tar_member("images", kind=kind, link="/tmp"),
        tar_member("images/evil.jpg", b"evil"),
    ]
    path = write_tar(tmp_path / "x.tgz", members)
    with pytest.raises(BadArchive, match="'images', a link or device"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_in_zip_files_are_refused(tmp_path):
    link = zipfile.ZipInfo("images")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = write_zip(tmp_path / "x.zip", {})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/tmp")
    with pytest.raises(BadArchive, match="'images', a link or device"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("name", KINDS[1:])
def test_archives_that_unpack_to_far_more_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SPARE_BYTES", 100_000)
    path = tmp_path / name
    zeros = {"a.jpg": bytes(5_000_000), "b.jpg": bytes(5_000_000)}
    if path.suffix == ".zip":
        write_zip(path, zeros)
    else:
        mode = {".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[path.suffix]
        write_tar(path, [tar_member(n, c) for n, c in zeros.items()], mode)
    with pytest.raises(BadArchive, match=f"{name}: unpacks to more than [0-9,]+ bytes"):
        unpack(path, tmp_path / "out")
    written = sum(file.stat().st_size for file in (tmp_path / "out").rglob("*.jpg"))
    assert written < 5_000_000


def test_empty_files_are_limited_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SPARE_BYTES", 100_000)
    path = write_tar(tmp_path / "x.tgz", [tar_member(f"{n}.jpg") for n in range(5000)])
    with pytest.raises(BadArchive, match="unpacks to more than"):
        unpack(path, tmp_path / "out")
