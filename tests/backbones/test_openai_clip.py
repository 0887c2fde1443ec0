"""The wrapped CLIP against the clip package itself, on random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vtclip.backbones import build_backbone
from vtclip.backbones.clip_package import CLIP, tokenize
from vtclip.backbones.openai_clip import OpenAIBackbone
from vtclip.errors import UserError

PROMPTS = ["a photo of a cat.", "a photo of a great white shark, a type of fish.", "cat"]
TEXT = {
    "context_length": 77,
    "vocab_size": 49408,
    "transformer_width": 64,
    "transformer_heads": 1,
    "transformer_layers": 2,
}
VISION = {
    "resnet": {
        "image_resolution": 64,
        "vision_layers": (1, 1, 1, 1),
        "vision_width": 16,
        "vision_patch_size": None,
    },
    "vit": {
        "image_resolution": 32,
        "vision_layers": 2,
        "vision_width": 64,
        "vision_patch_size": 8,
    },
}


def make_clip(kind: str) -> CLIP:
    torch.manual_seed(0)
    model = CLIP(embed_dim=32, **VISION[kind], **TEXT).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bn3.weight"):  # CLIP's zero start would hide the residual branches
            torch.nn.init.normal_(parameter, mean=1.0, std=0.1)
    return model


@pytest.fixture(params=["resnet", "vit"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def theirs(kind: str) -> CLIP:
    return make_clip(kind)


@pytest.fixture
def ours(theirs: CLIP) -> OpenAIBackbone:
    return OpenAIBackbone("random", theirs.state_dict())


def images_for(backbone: OpenAIBackbone) -> Tensor:
    return torch.randn(3, 3, backbone.image_size, backbone.image_size)


@pytest.mark.parametrize("tokens", ["joint", "backbone", None])
def test_global_features_are_clips_own(ours, theirs, tokens) -> None:
    images = images_for(ours)
    with torch.no_grad():
        features = ours.encode_image(images, tokens)
        expected = theirs.encode_image(images)
    torch.testing.assert_close(features.global_features, expected, atol=1e-5, rtol=1e-5)


def test_text_features_are_clips_own_at_full_length(ours, theirs) -> None:
    with torch.no_grad():
        features = ours.encode_text(PROMPTS)
        expected = theirs.encode_text(tokenize(PROMPTS))
    assert ours.tokenize(PROMPTS).ids.shape[1] < 77
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


def test_fp32_weights_are_not_rounded(ours, theirs) -> None:
    assert ours.text_projection.equal(theirs.text_projection)
    assert ours.logit_scale.item() == pytest.approx(theirs.logit_scale.exp().item())


def test_resnet_spatial_features_pool_each_location() -> None:
    theirs = make_clip("resnet")
    ours = OpenAIBackbone("random", theirs.state_dict())
    images = images_for(ours)
    feature_map = []
    theirs.visual.attnpool.register_forward_pre_hook(lambda _, args: feature_map.append(args[0]))
    with torch.no_grad():
        theirs.encode_image(images)
        joint = ours.encode_image(images, "joint").spatial_features
        raw = ours.encode_image(images, "backbone").spatial_features
    (x,) = feature_map
    x = x.flatten(2).transpose(1, 2)
    torch.testing.assert_close(raw, x)
    pool = theirs.visual.attnpool
    tokens = torch.cat([x.mean(1, keepdim=True), x], 1) + pool.positional_embedding
    reference = torch.nn.MultiheadAttention(512, pool.num_heads, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(
            torch.cat([pool.q_proj.weight, pool.k_proj.weight, pool.v_proj.weight])
        )
        reference.in_proj_bias.copy_(
            torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias])
        )
        reference.out_proj.weight.copy_(torch.eye(512))
        expected = pool.c_proj(reference(tokens[:, 1:], tokens, tokens)[0])
    assert joint.shape == (3, 4, 32)
    torch.testing.assert_close(joint, expected, atol=1e-5, rtol=1e-5)


def test_vit_spatial_features_are_projected_patch_tokens() -> None:
    theirs = make_clip("vit")
    ours = OpenAIBackbone("random", theirs.state_dict())
    images = images_for(ours)
    outputs = []
    theirs.visual.transformer.register_forward_hook(lambda *args: outputs.append(args[2]))
    with torch.no_grad():
        theirs.encode_image(images)
        joint = ours.encode_image(images, "joint").spatial_features
        raw = ours.encode_image(images, "backbone").spatial_features
        tokens = theirs.visual.ln_post(outputs[0].permute(1, 0, 2)[:, 1:])
        expected = tokens @ theirs.visual.proj
    assert joint.shape == (3, 16, 32)
    torch.testing.assert_close(raw, tokens, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(joint, expected, atol=1e-5, rtol=1e-5)


def test_a_state_dict_and_a_torchscript_archive_are_both_read(kind, theirs, ours, tmp_path) -> None:
    plain, archive = tmp_path / "plain.pt", tmp_path / "archive.pt"
    torch.save(theirs.state_dict(), plain)
    holder = torch.nn.Module()
    for name, tensor in theirs.state_dict().items():
        parent = holder
        *path, leaf = name.split(".")
        for part in path:
            if not hasattr(parent, part):
                parent.add_module(part, torch.nn.Module())
            parent = getattr(parent, part)
        parent.register_buffer(leaf, tensor)
    torch.jit.save(torch.jit.script(holder), archive)
    for path in (plain, archive):
        assert build_backbone(str(path)).fingerprint == ours.fingerprint


def test_fingerprint_knows_the_weights(theirs, ours) -> None:
    changed = theirs.state_dict()
    changed["text_projection"] = changed["text_projection"] + 1e-3
    assert OpenAIBackbone("random", changed).fingerprint != ours.fingerprint


def test_everything_is_frozen(theirs, tmp_path: Path) -> None:
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    backbone = build_backbone(str(tmp_path / "w.pt"))
    assert not backbone.training
    assert not any(p.requires_grad for p in backbone.parameters())


def test_gradients_flow_through_the_text_encoder(ours) -> None:
    ours.requires_grad_(False)
    tokens = ours.tokenize(PROMPTS)
    embeddings = ours.embed(tokens.ids).clone().requires_grad_()
    ours.encode_embeddings(embeddings, tokens.ends).sum().backward()
    assert embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_truncated_weights_are_one_clear_line(theirs, tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.pt"
    torch.save(theirs.state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep == 0.5 else int(keep)])
    with pytest.raises(UserError, match=r"cut\.pt: .* fetch it again"):
        build_backbone(str(path))


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"fc.weight": torch.ones(2)}, path)
    with pytest.raises(UserError, match="not the weights of a CLIP"):
        build_backbone(str(path))


def test_a_prompt_that_is_too_long_is_named(ours) -> None:
    with pytest.raises(UserError, match="longer than the 77 tokens"):
        ours.encode_text(["word " * 80])
