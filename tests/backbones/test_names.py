"""Backbones by any spelling of their names, and their labels in file names."""

from __future__ import annotations

import hashlib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from vtclip.backbones import (
    available_backbones,
    backbone_label,
    build,
    build_backbone,
    canonical_name,
    check_backbone,
    register_backbone,
)
from vtclip.errors import UserError


@pytest.mark.parametrize(
    ("spelling", "name", "label"),
    [
        ("rn50", "RN50", "rn50"),
        ("RN50", "RN50", "rn50"),
        ("rn50X4", "RN50x4", "rn50x4"),
        ("vit_b32", "ViT-B/32", "vit_b32"),
        ("ViT-B-32", "ViT-B/32", "vit_b32"),
        ("ViT-B/32", "ViT-B/32", "vit_b32"),
        ("vit b 16", "ViT-B/16", "vit_b16"),
        ("vit_l14", "ViT-L/14", "vit_l14"),
        ("vit_l14_336px", "ViT-L/14@336px", "vit_l14_336px"),
        ("ViT-L-14-336px", "ViT-L/14@336px", "vit_l14_336px"),
        ("Tiny", "tiny", "tiny"),
    ],
)
def test_any_spelling_is_a_name(spelling: str, name: str, label: str) -> None:
    assert canonical_name(spelling) == name
    assert backbone_label(spelling) == label
    check_backbone(spelling)


def test_a_backbone_has_its_registered_name() -> None:
    assert build_backbone("TINY").name == "tiny"


def test_labels_differ_and_are_names_themselves() -> None:
    labels = [backbone_label(name) for name in available_backbones()]
    assert len(set(labels)) == len(labels)
    assert [canonical_name(label) for label in labels] == available_backbones()


def test_a_path_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "My_Model.pt"
    path.write_bytes(b"")
    assert canonical_name(str(path)) == str(path)
    check_backbone(str(path))
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    assert backbone_label(str(path)) == f"My_Model-{digest[:8]}"
    monkeypatch.chdir(tmp_path)
    assert backbone_label("My_Model.pt") == f"My_Model-{digest[:8]}"


def test_a_file_does_not_hide_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rn50").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert canonical_name("rn50") == "RN50"
    assert canonical_name("./rn50") == "./rn50"


@pytest.mark.parametrize("name", ["TINY", "ti-ny", "vit_b32"])
def test_another_spelling_of_a_name_is_not_registered(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} is registered already, spelled"):
        register_backbone(name)(build_backbone)


def test_two_packages_with_names_alike_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        EntryPoint(name, "nowhere:build", build.ENTRY_POINT_GROUP) for name in ("my-net", "my_net")
    )
    monkeypatch.setattr(build, "entry_points", lambda **wanted: points.select(**wanted))
    assert canonical_name("my_net") == "my_net"
    with pytest.raises(UserError, match="'mynet' may be my-net or my_net"):
        check_backbone("mynet")
