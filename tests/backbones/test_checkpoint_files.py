"""Files of weights in the forms that they come in; what differs is named in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.backbones.test_openai_clip import make_clip
from vtclip.backbones import build_backbone
from vtclip.backbones.checkpoint_files import read_clip_state_dict
from vtclip.backbones.clip_layout import VOCABULARY
from vtclip.backbones.clip_package import SimpleTokenizer
from vtclip.backbones.openai_clip import OpenAIBackbone
from vtclip.errors import UserError


@pytest.fixture(scope="module")
def whole() -> dict[str, Tensor]:
    return make_clip("vit").state_dict()


@pytest.fixture
def weights(whole: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(whole)


def saved(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(found[key].equal(value) for key, value in expected.items())


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats_of_torch_save_are_read(weights, tmp_path: Path, legacy: bool) -> None:
    path = saved(weights, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    assert_same(read_clip_state_dict(path), weights)


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_safetensors_are_known_by_suffix_and_by_content(weights, tmp_path: Path, name: str) -> None:
    safetensors.torch.save_file(weights, tmp_path / name)
    assert_same(read_clip_state_dict(tmp_path / name), weights)


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_cut_safetensors_are_one_line(weights, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    safetensors.torch.save_file(weights, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{name}: not a safetensors file, or it is truncated"):
        read_clip_state_dict(path)


@pytest.mark.parametrize(
    ("entry", "prefix", "message"),
    [
        (True, "", "weights taken from its entry 'state_dict'."),
        (False, "module.", "weights taken without the prefix 'module.'."),
        (True, "module.", "taken from its entry 'state_dict' and without the prefix 'module.'."),
    ],
)
def test_what_training_scripts_save_is_accepted(
    weights, tmp_path: Path, capsys: pytest.CaptureFixture, entry: bool, prefix: str, message: str
) -> None:
    content: dict[str, Any] = {prefix + key: value for key, value in weights.items()}
    if entry:
        content = {"epoch": 3, "state_dict": content, "optimizer": {"lr": 0.1}}
    path = saved(content, tmp_path / "w.pt")
    assert_same(read_clip_state_dict(path), weights)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{path}: ")
    assert line.endswith(message)


def change(weights: dict[str, Tensor], key: str, value: Tensor | None) -> dict[str, Tensor]:
    if value is None:
        del weights[key]
    else:
        weights[key] = value
    return weights


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("visual.extra.weight", torch.ones(2), "holds visual.extra.weight, which"),
        ("module.text_projection", torch.ones(2), "holds module.text_projection, which"),
        ("visual.ln_post.bias", None, "lacks visual.ln_post.bias, which"),
        ("ln_final.weight", None, "lacks ln_final.weight"),
        ("visual.positional_embedding", None, "lacks visual.positional_embedding"),
        (
            "visual.ln_post.bias",
            torch.ones(63),
            r"visual.ln_post.bias is of size \(63,\), expected",
        ),
        ("visual.proj", torch.ones(64), "visual.proj is of size .* not 2-dimensional"),
        ("visual.positional_embedding", torch.ones(19, 64), "19 positions in an image"),
        ("ln_final.weight", torch.ones(32), "a width of 32 in the text encoder has no heads"),
        ("ln_final.weight", torch.ones(0), "ln_final.weight is empty"),
        ("ln_final.weight", torch.ones(64).to_sparse(), "ln_final.weight is no plain tensor"),
        ("ln_final.weight", torch.ones(64, dtype=torch.int64), "is of type torch.int64"),
        ("token_embedding.weight", torch.ones(99, 64), "has 99 rows, the tokenizer of CLIP 49408"),
        (
            "ln_final.weight",
            torch.full((64,), torch.nan),
            "ln_final.weight holds values",
        ),
        (
            "visual.ln_post.bias",
            torch.ones(64) / 0,
            "visual.ln_post.bias holds values",
        ),
        ("a\n\ud800", torch.ones(1), r"holds 'a\\n\\ud800', which"),
    ],
)
def test_what_differs_is_named(weights, tmp_path: Path, key, value, message: str) -> None:
    content = change(weights, key, value)
    if "\ud800" in key:
        # torch.save cannot write such a key; an archive may hold it
        with pytest.raises(UserError, match=message):
            OpenAIBackbone("name", content)
        return
    path = saved(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match=rf"w\.pt: .*{message}"):
        build_backbone(str(path))


def test_many_differences_are_counted(weights) -> None:
    lacking = {k: v for k, v in weights.items() if not k.startswith("visual.ln_p")}
    with pytest.raises(UserError, match=r"lacks visual.ln_pre.weight and 3 more"):
        OpenAIBackbone("name", lacking)


def test_a_tower_of_layers_is_refused(weights) -> None:
    tower = {f"transformer.resblocks.{n}.x": torch.ones(1) for n in range(5000)}
    with pytest.raises(UserError, match=r"5000 layers in transformer\.resblocks"):
        OpenAIBackbone("name", weights | tower)


def test_views_that_would_fill_the_memory_are_refused(weights, tmp_path: Path) -> None:
    weights["visual.ln_post.bias"] = torch.ones(1).expand(1 << 40)
    path = saved(weights, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt: holds tensors of 4,\d+,\d+,\d+,\d+ bytes"):
        build_backbone(str(path))


@pytest.mark.parametrize("content", [[torch.ones(1)], {}, {"a": 1}, {1: torch.ones(1)}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    path = saved(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt: not a state dict of tensors by name"):
        build_backbone(str(path))


def test_the_vocabulary_is_that_of_the_tokenizer() -> None:
    assert len(SimpleTokenizer().encoder) == VOCABULARY
