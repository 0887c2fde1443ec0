"""Names of families of backbones; no library of any is needed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_startup import run as run_code
from vtclip.backbones import (
    available_backbones,
    available_families,
    backbone_label,
    build_backbone,
    canonical_name,
    check_backbone,
    has_files_of_its_own,
    published_name,
    register_backbone,
    registry,
)
from vtclip.errors import UserError

UNUSED = """
import sys
from vtclip.backbones import build_backbone, check_backbone
check_backbone("open_clip:ViT-B-16/laion2b_s34b_b88k")
build_backbone("tiny")
print(*sorted({"open_clip", "transformers", "timm", "huggingface_hub"} & set(sys.modules)))
"""


@pytest.fixture
def my_zoo() -> Iterator[list[str]]:
    """A family whose factory notes the names that it is asked for; it is forgotten afterwards."""
    before = dict(registry.families)
    asked: list[str] = []

    @register_backbone("my_zoo:*")
    def build(name: str) -> object:
        asked.append(name)
        return build_backbone("tiny")

    yield asked
    registry.families.clear()
    registry.families.update(before)


def test_a_family_builds_all_names_that_begin_so(my_zoo: list[str]) -> None:
    assert "my_zoo:*" in available_families()
    assert "my_zoo:*" not in available_backbones()
    for name in ("my_zoo:small", "my-zoo:small", "MyZoo:a/b:c"):
        build_backbone(name)
    assert my_zoo == ["my_zoo:small", "my_zoo:small", "my_zoo:a/b:c"]


def test_a_family_is_registered_once(my_zoo: list[str]) -> None:
    with pytest.raises(ValueError, match=r"My-Zoo:\* is registered already, spelled my_zoo"):
        register_backbone("My-Zoo:*")(build_backbone)


def test_activation_is_refused_where_a_family_has_no_choice_of_it(my_zoo: list[str]) -> None:
    with pytest.raises(UserError, match="backbone my_zoo:x has no choice of it"):
        build_backbone("my_zoo:x", "gelu")


@pytest.mark.parametrize(
    ("name", "canonical", "label"),
    [
        (
            "open-clip:ViT-B-16/laion2b_s34b_b88k",
            "open_clip:ViT-B-16/laion2b_s34b_b88k",
            "open_clip-vit_b_16-laion2b_s34b_b88k",
        ),
        ("HF-hub:timm/ViT-B-16", "hf-hub:timm/ViT-B-16", "hf_hub-timm-vit_b_16"),
        ("hf:google/siglip2", "hf:google/siglip2", "hf-google-siglip2"),
    ],
)
def test_names_and_labels(name: str, canonical: str, label: str) -> None:
    assert canonical_name(name) == canonical
    assert backbone_label(name) == label
    assert not has_files_of_its_own(name)
    assert published_name(name) == canonical
    check_backbone(name)


def test_the_path_in_a_name_is_a_label_and_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "My Weights.pt"
    path.write_bytes(b"")
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"open_clip:RN50/{path}"
    check_backbone(name)
    assert backbone_label(name) == f"open_clip-rn50-My%20Weights-{digest}"
    assert has_files_of_its_own(name)
    assert published_name(name) == "open_clip:RN50/My Weights.pt"
    monkeypatch.chdir(tmp_path)
    assert backbone_label("open_clip:RN50/My Weights.pt") == backbone_label(name)
    # published names of weights and organisations on the hub are no paths
    assert not has_files_of_its_own("open_clip:RN50/openai")
    (tmp_path / "folder").mkdir()
    assert published_name(f"hf:{tmp_path}/folder") == "hf:folder"
    assert has_files_of_its_own("hf:folder")


def test_missing_files_are_named_before_anything_is_imported() -> None:
    with pytest.raises(UserError, match=r"no such file: nowhere/weights\.pt"):
        check_backbone("open_clip:RN50/nowhere/weights.pt")
    with pytest.raises(UserError, match=r"no such file: \./nowhere"):
        check_backbone("hf:./nowhere")


def test_an_unknown_name_lists_the_families() -> None:
    with pytest.raises(UserError, match=r"did you mean open_clip:\*\?.* hf-hub:\*, hf:\*, open"):
        check_backbone("open_clip")


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("open_clip:RN50/openai", "open_clip", "open-clip"),
        ("hf-hub:a/b", "open_clip", "open-clip"),
        ("hf:a/b", "transformers", "hf"),
    ],
)
def test_an_absent_library_is_named(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs {package}; pip install 'vtclip\[{extra}\]'"):
        build_backbone(name)


def test_no_library_is_imported_for_other_backbones() -> None:
    assert run_code(UNUSED) == ""
