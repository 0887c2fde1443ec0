from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from vtclip.features import Encoding, FeatureStore, image_features
from vtclip.features.__main__ import main
from vtclip.features.store import default_root


@pytest.fixture
def store(tmp_path: Path, paths: list[Path], encoding: Encoding) -> FeatureStore:
    """Two entries: ten images with joint tokens and four without, and one view of ten images."""
    store = FeatureStore(tmp_path / "store")
    for chosen, list_of_images in [
        (replace(encoding, tokens=None), paths[:4]),
        (encoding, paths),
        (replace(encoding, view=0), paths),
    ]:
        image_features(list_of_images, chosen, cache=store, workers=0)
    return store


def age(store: FeatureStore, view: int | None, days: float) -> None:
    for entry in store.entries():
        if entry.description["view"] == view:
            then = time.time() - days * 86400
            os.utime(entry.folder / "encoding.json", (then, then))


def test_ls(store: FeatureStore, capsys: pytest.CaptureFixture[str]) -> None:
    age(store, None, 3)
    assert main(["ls", "--root", str(store.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [line.split() for line in lines[2:-1]]
    assert [row[1:7] for row in cells] == [
        ["stub", "plain", "fp32", "0", "joint", "10"],
        ["stub", "plain", "fp32", "-", "joint", "10"],
        ["stub", "plain", "fp32", "-", "none", "4"],
    ]
    assert [row[-1] for row in cells] == ["0.0", "3.0", "3.0"]
    assert lines[-1].startswith(f"{store.root}: ")


def test_ls_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--root", str(tmp_path / "none")]) == 0
    assert "0.0 MB" in capsys.readouterr().out


def test_verify_removes_what_is_damaged(
    store: FeatureStore,
    paths: list[Path],
    encoding: Encoding,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["verify", "--root", str(store.root)]) == 0
    capsys.readouterr()
    shard = store.entries()[0].shards()[0].path
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1  # the size stays
    shard.write_bytes(content)
    assert main(["verify", "--root", str(store.root)]) == 1
    assert "Damaged shards removed: 1." in capsys.readouterr().out
    assert not shard.exists()
    assert main(["verify", "--root", str(store.root)]) == 0


def test_prune_by_age_and_all(store: FeatureStore, capsys: pytest.CaptureFixture[str]) -> None:
    age(store, 0, 31)
    root = ["--root", str(store.root)]
    assert main(["prune", *root, "--older-than", "30"]) == 0
    assert [entry.description["view"] for entry in store.entries()] == [None]
    assert main(["prune", *root, "--all"]) == 0
    assert store.entries() == []
    assert capsys.readouterr().out.count("MB removed") == 2
    with pytest.raises(SystemExit):
        main(["prune", *root])


def test_prune_leaves_alone_what_is_being_written(
    store: FeatureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = store.entries()[0]
    with entry.writing():
        main(["prune", "--root", str(store.root), "--all"])
    assert "in use by a writer" in capsys.readouterr().out
    assert [left.folder for left in store.entries()] == [entry.folder]


def test_use_is_noted(store: FeatureStore, paths: list[Path], encoding: Encoding) -> None:
    age(store, None, 100)
    image_features(paths, encoding, cache=store, workers=0)
    assert all(time.time() - entry.last_use < 60 for entry in store.entries())


def test_a_damaged_description_hides_no_other_entry(
    store: FeatureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.entries()[0].folder / "encoding.json").write_text("{")
    assert main(["ls", "--root", str(store.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("damaged: encoding.json is not what was written" in line for line in lines) == 1
    assert sum("plain" in line for line in lines) == 2
    assert main(["prune", "--root", str(store.root), "--all"]) == 0
    assert store.entries() == []


@pytest.mark.parametrize("kind", ["file", "folder", "link", "shard of another folder"])
def test_prune_removes_nothing_beside_a_file_that_is_not_the_caches(
    kind: str, store: FeatureStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    entry, other = store.entries()[:2]
    foreign = entry.folder / "thesis.tex"
    if kind == "file":
        foreign.write_text("three years")
    elif kind == "folder":
        foreign.mkdir()
    elif kind == "link":
        foreign.symlink_to(tmp_path)
    else:
        foreign = entry.folder / other.shards()[0].path.name
        if foreign.exists():
            foreign = entry.folder / f"{'0' * 64}.safetensors"
        foreign.write_bytes(other.shards()[0].path.read_bytes())
    before = sorted(entry.folder.iterdir())
    assert main(["prune", "--root", str(store.root), "--all"]) == 1
    assert f"{foreign}: not written by the feature cache" in capsys.readouterr().err
    assert sorted(entry.folder.iterdir()) == before
    assert [left.folder for left in store.entries()] == [entry.folder]


def test_prune_leaves_a_folder_that_no_entry_is_named_like(tmp_path: Path) -> None:
    mine = tmp_path / "letters"
    mine.mkdir()
    (mine / "encoding.json").write_text("{}")
    assert main(["prune", "--root", str(tmp_path), "--all"]) == 1
    assert (mine / "encoding.json").exists()


@pytest.mark.parametrize("days", ["nan", "-1", "inf", "soon"])
def test_ages_that_are_no_number_of_days_remove_nothing(days: str, store: FeatureStore) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["prune", "--root", str(store.root), "--older-than", days])
    assert stopped.value.code == 2
    assert len(store.entries()) == 3 - 1


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VTCLIP_CACHE", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("VTCLIP_CACHE")
    assert default_root().parts[-2:] == ("vtclip", "features")


def test_the_command_does_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from vtclip.features.__main__ import main; "
        f"main(['ls', '--root', {str(tmp_path)!r}]); sys.exit('torch' in sys.modules)"
    )
    folder = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=folder).returncode == 0
