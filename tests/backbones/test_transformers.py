"""CLIP and SigLIP of transformers against transformers itself; its package is optional."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vtclip.backbones import Backbone, PromptLearningBackbone, build_backbone
from vtclip.backbones.transformers_models import pooled
from vtclip.errors import UserError

from .small_models import SIGLIP_SCALE, write_transformers

transformers = pytest.importorskip(
    "transformers", reason="no package transformers: pip install -e '.[hf]'"
)
PROMPTS = ["a photo of a cat.", "two dogs, 12 birds", "x"]
Pair = tuple[Any, Backbone]


@pytest.fixture(scope="module")
def pair_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """Give the model of transformers, and the backbone of the same weights."""
    found: dict[str, Pair] = {}

    def get(kind: str) -> Pair:
        if kind not in found:
            folder = tmp_path_factory.mktemp("models") / kind
            model = write_transformers(kind, folder)
            found[kind] = model, build_backbone(f"hf:{folder}")
        return found[kind]

    return get


@torch.no_grad()
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_features_are_those_of_transformers(kind: str, pair_of) -> None:
    model, backbone = pair_of(kind)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = pooled(model.get_image_features(pixel_values=images))
    for tokens in (None, *backbone.token_kinds):
        found = backbone.encode_image(images, tokens).global_features
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert backbone.embed_dim == expected.shape[1]
    told = {"padding": "max_length", "max_length": 40} if kind == "siglip" else {"padding": True}
    inputs = backbone.tokenizer(PROMPTS, return_tensors="pt", **told)
    # SigLIP was trained without a mask
    kept = {"input_ids"} if kind == "siglip" else {"input_ids", "attention_mask"}
    expected = pooled(model.get_text_features(**{key: inputs[key] for key in kept}))
    torch.testing.assert_close(backbone.encode_text(PROMPTS), expected, atol=1e-5, rtol=1e-5)
    alone = backbone.encode_text(PROMPTS[2:])
    torch.testing.assert_close(alone, expected[2:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(backbone.logit_scale, model.logit_scale.exp().reshape(()))


@torch.no_grad()
def test_locations_of_clip_are_normalised_and_projected(pair_of) -> None:
    model, backbone = pair_of("clip")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    states = model.vision_model(pixel_values=images, output_hidden_states=True).hidden_states
    expected = model.vision_model.post_layernorm(states[-1][:, 1:])
    spatial = backbone.encode_image(images, "backbone").spatial_features
    torch.testing.assert_close(spatial, expected)
    assert expected.shape == (2, 16, 48)
    spatial = backbone.encode_image(images, "joint").spatial_features
    torch.testing.assert_close(spatial, expected @ model.visual_projection.weight.T)


def test_facts_are_those_of_the_files(pair_of) -> None:
    _, clip = pair_of("clip")
    assert (clip.image_size, clip.embed_dim, clip.backbone_dim) == (32, 24, 48)
    assert clip.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert clip.token_kinds == ("joint", "backbone")
    _, siglip = pair_of("siglip")
    assert (siglip.mean, siglip.std) == ((0.5,) * 3, (0.5,) * 3)
    assert siglip.interpolation == clip.interpolation == "bicubic"
    assert float(siglip.logit_scale) == pytest.approx(SIGLIP_SCALE, rel=1e-5)
    assert siglip.token_kinds == ("backbone",)
    assert not isinstance(clip, PromptLearningBackbone)
    assert clip.fingerprint != siglip.fingerprint


def test_tensors_and_records_are_taken() -> None:
    tensor = torch.ones(2)
    assert pooled(tensor) is tensor
    assert pooled(SimpleNamespace(pooler_output=tensor)) is tensor


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_prompt_beyond_the_context_is_refused(kind: str, pair_of) -> None:
    _, backbone = pair_of(kind)
    assert backbone.encode_text(["x" * 39]).isfinite().all()
    with pytest.raises(UserError, match=r"prompt 'x+': longer than the 40 tokens of hf:"):
        backbone.encode_text(["x", "x" * 40])


def test_the_fingerprint_is_of_weights_and_structure(pair_of, tmp_path: Path) -> None:
    _, backbone = pair_of("clip")
    write_transformers("clip", tmp_path / "again")
    assert build_backbone(f"hf:{tmp_path / 'again'}").fingerprint == backbone.fingerprint
    other = write_transformers("clip", tmp_path / "other")
    other.config.vision_config.hidden_act = "gelu"
    other.config.save_pretrained(tmp_path / "other")
    assert build_backbone(f"hf:{tmp_path / 'other'}").fingerprint != backbone.fingerprint


def test_folders_that_are_no_such_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"(configuration|model) cannot be had"):
        build_backbone(f"hf:{tmp_path / 'none'}")
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    config.save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="of the kind bert, where clip and siglip are known"):
        build_backbone(f"hf:{tmp_path / 'bert'}")


def test_weights_with_a_gap_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_transformers("clip", tmp_path / "clip")
    path = tmp_path / "clip" / "model.safetensors"
    weights = load_file(path)
    weights.pop("visual_projection.weight")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"missing keys: visual_projection\.weight"):
        build_backbone(f"hf:{tmp_path / 'clip'}")


def test_a_run_trains_on_it(pair_of, run_train, tmp_path: Path, capfd) -> None:
    _, siglip = pair_of("siglip")
    arguments = ["--trainer", "VTCLIP", "--backbone", siglip.name, "--shots", "1"]
    options = ["OPTIM.MAX_EPOCH", "1", "TRAINER.VTCLIP.VISUAL_TOKENS", "backbone"]
    assert run_train(*arguments, "--output-dir", str(tmp_path / "run"), *options) == 0
    assert run_train(*arguments, "--output-dir", str(tmp_path / "other"), *options[:2]) == 2
    assert "has no joint spatial features" in capfd.readouterr().err
