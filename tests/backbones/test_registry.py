"""Backbones by name, and the worked example of docs/backbones.md."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch

from vtclip.backbones import available_backbones, build, build_backbone, register_backbone, registry
from vtclip.errors import UserError
from vtclip.results import read_result

from ..conftest import ROOT

EXAMPLE = ROOT / "docs" / "backbones.md"


@pytest.fixture
def my_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The documented example as a module on the path; its name is forgotten afterwards."""
    (code,) = re.findall(r"```python\n(.*?)```", EXAMPLE.read_text(), re.DOTALL)
    (tmp_path / "my_backbone.py").write_text(code)
    before = dict(registry.factories)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_backbone", raising=False)
    yield tmp_path
    registry.factories.clear()
    registry.factories.update(before)


def test_the_documented_example_trains(my_backbone: Path, run_train) -> None:
    arguments = [
        *("--plugin", "my_backbone", "--trainer", "VTCLIP"),
        *("--output-dir", str(my_backbone / "run"), "--backbone", "colours"),
        *("TRAINER.VTCLIP.N_HEADS", "1", "DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "2"),
    ]
    assert run_train(*arguments) == 0
    assert read_result(my_backbone / "run" / "result.json").backbone == "colours"


def test_coop_needs_a_text_encoder_with_embeddings(my_backbone: Path, run_train, capfd) -> None:
    arguments = [
        *("--plugin", "my_backbone", "--trainer", "CoOp"),
        *("--output-dir", str(my_backbone / "run"), "--backbone", "colours"),
        *("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1"),
    ]
    assert run_train(*arguments) == 2
    assert "error: MODEL.BACKBONE.NAME: the text encoder of colours" in capfd.readouterr().err


def test_tiny_is_light_and_resizes_as_clip_does() -> None:
    tiny = build_backbone("tiny")
    assert tiny.interpolation == "bicubic"
    assert tiny.is_light


def test_an_entry_point_is_a_name(my_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        [EntryPoint("by_entry_point", "my_backbone:ColourBackbone", build.ENTRY_POINT_GROUP)]
    )
    monkeypatch.setattr(build, "entry_points", lambda **wanted: points.select(**wanted))
    assert "by_entry_point" in available_backbones()
    assert build_backbone("by_entry_point").embed_dim == 3


def test_openais_names_are_there() -> None:
    assert {"RN50", "RN101", "RN50x64", "ViT-B/32", "ViT-L/14@336px", "tiny"} <= set(
        available_backbones()
    )


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="tiny is registered already"):
        register_backbone("tiny")(build_backbone)


@pytest.mark.parametrize(
    ("name", "message"),
    [("rn5", "did you mean RN50"), ("some/where.pt", "no such file: some/where.pt")],
)
def test_unknown_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_backbone(name)


def test_offline_says_which_file_goes_where(tmp_path: Path, monkeypatch) -> None:
    from vtclip.backbones import pretrained

    monkeypatch.setenv("VTCLIP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    # a port of this machine that nobody listens on
    monkeypatch.setattr(pretrained, "BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"RN50: put RN50\.pt at .*RN50\.pt \(from http"):
        build_backbone("RN50")
    assert not list(tmp_path.glob("*.pt*"))


def test_tiny_comes_with_the_package() -> None:
    backbone = build_backbone("tiny")
    features = backbone.encode_image(torch.zeros(2, 3, backbone.image_size, backbone.image_size))
    assert features.global_features.shape == (2, backbone.embed_dim)
    assert 9 <= features.spatial_features.shape[1] <= 64
