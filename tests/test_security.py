"""No code runs from a file (SECURITY.md); weights are in tests/backbones and tests/fuzz."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from yacs.config import CfgNode

from datasets.bank_file import read_bank
from vtclip import checkpoints
from vtclip.config import merge_file
from vtclip.errors import UserError
from vtclip.torch_files import _start_of_directory

from .conftest import ROOT


class Command:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


def test_a_checkpoint_runs_nothing(tmp_path: Path) -> None:
    torch.save({"state_dict": Command(tmp_path / "victim")}, tmp_path / "model.pth.tar")
    with pytest.raises(UserError, match=r"model\.pth\.tar: not a checkpoint"):
        checkpoints.load(tmp_path / "model.pth.tar")
    assert not (tmp_path / "victim").exists()


def test_a_tar_file_is_not_given_to_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "model.pth.tar", "w") as file:
        file.add(__file__, "pickle")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    with pytest.raises(UserError, match=r"model\.pth\.tar: not a checkpoint"):
        checkpoints.load(tmp_path / "model.pth.tar")


def compressed(path: Path, tensor: torch.Tensor) -> None:
    """Write a checkpoint as torch.save does, and compress its entries."""
    torch.save({"state_dict": {"x": tensor}, "epoch": 1, "settings": {}, "origin": {}}, path)
    with zipfile.ZipFile(path) as file:
        entries = [(entry.filename, file.read(entry)) for entry in file.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "model.pth.tar"
    # two tensors of 140 MB in 300 kB
    compressed(path, torch.zeros(2, 35 << 20))
    assert path.stat().st_size < 1 << 20
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    with pytest.raises(UserError, match=r"it would unpack to 293,6\d\d,\d\d\d bytes, far more"):
        checkpoints.load(path)


def test_a_compressed_checkpoint_of_a_common_size_is_read(tmp_path: Path) -> None:
    compressed(tmp_path / "x", torch.arange(6.0))
    assert checkpoints.load(tmp_path / "x")["state_dict"]["x"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("forgery", ["after its end", "before its start", "a comment"])
def test_an_archive_in_which_two_readers_find_two_directories_is_refused(
    forgery: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pth.tar"
    torch.save({"state_dict": {}}, path)
    content = path.read_bytes()
    if forgery == "after its end":
        path.write_bytes(content + b"x")
    elif forgery == "before its start":
        # the numbers of the second directory are those of the first file
        path.write_bytes(content + content)
    else:
        with zipfile.ZipFile(path, "a") as file:
            file.comment = b"x"
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    with pytest.raises(UserError, match=r"model\.pth\.tar: not a checkpoint"):
        checkpoints.load(path)


@pytest.mark.parametrize("zip64", [False, True])
def test_the_start_of_the_directory_is_that_of_other_readers(zip64: bool, tmp_path: Path) -> None:
    path = tmp_path / "x"
    torch.save({"state_dict": {}}, path)
    if not zip64:
        compressed(path, torch.zeros(1))
    assert (b"PK\x06\x06" in path.read_bytes()) == zip64
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        assert _start_of_directory(file) == archive.start_dir


def test_a_feature_bank_runs_nothing(tmp_path: Path) -> None:
    content = np.array([Command(tmp_path / "victim")], dtype=object)
    np.savez(tmp_path / "bank.npz", text=content)
    with pytest.raises(UserError, match=r"bank\.npz"):
        read_bank(tmp_path / "bank.npz")
    assert not (tmp_path / "victim").exists()


def test_a_configuration_runs_nothing(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "run.yaml"
    path.write_text(f"SEED: !!python/object/apply:os.system ['touch {victim}']\n")
    with pytest.raises(UserError, match=r"run\.yaml: not YAML"):
        merge_file(CfgNode({"SEED": 1}), path)
    assert not victim.exists()


@pytest.mark.parametrize("plugin", [False, True])
def test_the_working_folder_is_searched_only_for_plug_ins(plugin: bool, tmp_path: Path) -> None:
    for name in ("numpy", "yaml", "mine"):
        (tmp_path / f"{name}.py").write_text(f"open('{name} was imported', 'w').close()")
    command = [sys.executable, str(ROOT / "train.py"), "--dry-run"]
    done = subprocess.run(
        [*command, "--plugin", "mine"] if plugin else command,
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    # after the installed packages, so that no file there takes the place of one of them
    imported = [path.name for path in tmp_path.glob("* was imported")]
    assert imported == (["mine was imported"] if plugin else [])


FORBIDDEN = {"jit", "eval", "exec", "unsafe_load", "full_load", "Unpickler"}


@pytest.mark.parametrize("folder", ["vtclip", "trainers", "datasets"])
def test_no_reader_that_runs_code_is_used(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {node.id for node in calls if isinstance(node, ast.Name)}
        attributes = {
            ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)
        }
        assert not names & FORBIDDEN, path
        assert not attributes & {"torch.jit", "pickle.load", "pickle.loads", "yaml.load"}, path
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            options = {option.arg: ast.unparse(option.value) for option in call.keywords}
            if ast.unparse(call.func) == "torch.load":
                assert options.get("weights_only") == "True", path
            if ast.unparse(call.func) in ("np.load", "numpy.load"):
                assert options.get("allow_pickle") == "False", path
