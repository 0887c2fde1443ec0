"""Cache folders that cannot be found, read or written: one line that says the way out."""

from __future__ import annotations

import errno
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from datasets import listing_cache
from vtclip.backbones import pretrained
from vtclip.errors import UserError
from vtclip.features import Encoding, FeatureStore, extract, image_features
from vtclip.features.__main__ import main
from vtclip.features.store import default_root

from .stub import write_images

PROJECT = Path(__file__).parents[2]
NOBODY = 54321


@pytest.fixture
def _homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user of a container: no HOME, no entry in passwd."""
    for name in ("HOME", "XDG_CACHE_HOME", "VTCLIP_CACHE", "VTCLIP_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)

    def unknown(_: Any) -> NoReturn:
        raise KeyError("no entry")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_homeless")
def test_without_a_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"no home folder.*FEATURES\.ROOT.*FEATURES\.CACHE False"):
        default_root()
    with pytest.raises(UserError, match=r"no home folder.*VTCLIP_WEIGHTS"):
        pretrained.find_or_download("RN50")
    # listings are then made anew in each run
    assert listing_cache.cache_folder() is None
    (tmp_path / "weights.pt").write_bytes(b"abc")
    assert pretrained.remembered_sha256(tmp_path / "weights.pt").startswith("ba7816bf")
    monkeypatch.setenv("VTCLIP_CACHE", "~/features")
    with pytest.raises(UserError, match=r"VTCLIP_CACHE: '~/features' cannot be a path"):
        default_root()
    monkeypatch.setenv("VTCLIP_CACHE", str(tmp_path / "features"))
    assert default_root() == tmp_path / "features"
    assert main(["ls"]) == 0
    # no folder of the name ~
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is taken on by root only")
def test_the_command_of_a_user_without_entry() -> None:
    # the library of the interpreter and the project may be in folders of root, so that they are
    # used once before
    code = f"""
import os, sys
sys.path.insert(0, {str(PROJECT)!r})
from vtclip.errors import run_command
from vtclip.features.__main__ import main
os.chdir("/")
assert main(["ls", "--root", "/nonexistent"]) == 0
os.setuid({NOBODY})
sys.exit(run_command(lambda: main(["ls"])))
"""
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ~/.cache/vtclip: this user has no home folder; set HOME")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def refusal(paths: list[Path], encoding: Encoding, root: Path) -> str:
    with pytest.raises(UserError) as refused:
        image_features(paths, encoding, cache=FeatureStore(root), workers=0)
    message = str(refused.value)
    assert message.startswith(str(root))
    assert "FEATURES.ROOT" in message
    assert "FEATURES.CACHE False" in message
    return message


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_root_that_is_a_file(
    below: str,
    paths: list[Path],
    encoding: Encoding,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("three years")
    root = tmp_path / "file" / below
    assert "Not a directory" in refusal(paths, encoding, root)
    with pytest.raises(
        UserError, match=r"file.*cannot be read \(Not a directory\).*FEATURES\.ROOT"
    ):
        FeatureStore(root).entries()
    assert (tmp_path / "file").read_text() == "three years"


def denied(monkeypatch: pytest.MonkeyPatch, name: str, below: Path, code: int) -> None:
    """Make a function of os fail for the paths in a folder, as the system would."""
    real = getattr(os, name)

    def refuse(path: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(path, str | os.PathLike) and Path(path).is_relative_to(below):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, name, refuse)


def test_an_unreadable_root(
    paths: list[Path], encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    image_features(paths, encoding, cache=FeatureStore(root), workers=0)
    denied(monkeypatch, "scandir", root, errno.EACCES)
    assert "cannot be read (Permission denied)" in refusal(paths, encoding, root)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\).*FEATURES\.ROOT"):
        FeatureStore(root).entries()


@pytest.mark.parametrize("function", ["mkdir", "open"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_a_root_where_nothing_can_be_made(
    function: str,
    code: int,
    paths: list[Path],
    encoding: Encoding,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "store"
    denied(monkeypatch, function, root, code)
    assert "cannot be written" in refusal(paths, encoding, root)
    assert not list(root.rglob("*.json"))


@pytest.mark.parametrize("first", range(4))
def test_a_disk_that_fills(
    first: int,
    paths: list[Path],
    encoding: Encoding,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk is full from the first file on, or the second, and so on; then there is room."""
    root = tmp_path / "store"
    real, calls = os.fsync, iter(range(100))

    def fsync(handle: int) -> None:
        if next(calls) >= first:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        # the description and a shard; the record of checked shards can be done without
        if first < 2:
            assert "cannot be written (No space left on device)" in refusal(paths, encoding, root)
        else:
            image_features(paths, encoding, cache=FeatureStore(root), workers=0)
    names = {path.name for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert len(names) == first
    source = image_features(paths, encoding, cache=FeatureStore(root), workers=0)
    expected = image_features(paths, encoding, cache=None, workers=0)
    rows = torch.arange(len(paths))
    torch.testing.assert_close(
        source.fetch(rows).spatial_features, expected.fetch(rows).spatial_features
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="file systems are mounted by root only")
@pytest.mark.parametrize("foreseen", [True, False])
def test_a_small_file_system(
    foreseen: bool,
    tmp_path: Path,
    encoding: Encoding,
    open_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not foreseen:
        monkeypatch.setattr(extract, "_check_room", lambda *_: None)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(open_folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        root = open_folder / "store"
        message = refusal(write_images(tmp_path / "many", 80), encoding, root)
        assert ("do not fit" if foreseen else "No space left on device") in message
        assert list(root.rglob("*.safetensors")) == []
        assert [path for path in root.rglob(".*") if path.is_file()] == []
    finally:
        subprocess.run(["umount", str(open_folder)], check=True)
