"""No code runs from a file (SECURITY.md); weights are in tests/backbones and tests/fuzz."""

from __future__ import annotations

import ast
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from yacs.config import CfgNode

from datasets.bank_file import read_bank
from vtclip import checkpoints
from vtclip.config import merge_file
from vtclip.errors import UserError

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
