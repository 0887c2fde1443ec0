"""GELU or QuickGELU: against a direct computation, and against open_clip where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.backbones.test_openai_clip import PROMPTS, make_clip
from tests.backbones.test_torchscript_archive import traced
from vtclip.backbones import build_backbone, pretrained, register_backbone, registry
from vtclip.backbones.clip_package import CLIP
from vtclip.errors import UserError
from vtclip.files import sha256_of_file

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

GELUS = {"quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "gelu": F.gelu}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTCLIP_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def vit() -> CLIP:
    model = make_clip("vit")
    for name, parameter in model.named_parameters():
        # CLIP's small start would hide the difference
        if name.endswith("c_fc.weight"):
            torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture
def path(vit: CLIP, tmp_path: Path) -> Path:
    torch.save(vit.state_dict(), tmp_path / "vit.pt")
    return tmp_path / "vit.pt"


def blocks_directly(transformer: Any, x: Tensor, gelu: Any, mask: Tensor | None) -> Tensor:
    """The residual blocks on [N, B, W], with `gelu` in the place of the module's own."""
    for block in transformer.resblocks:
        h = block.ln_1(x)
        x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
        x = x + block.mlp.c_proj(gelu(block.mlp.c_fc(block.ln_2(x))))
    return x


def image_directly(model: CLIP, images: Tensor, gelu: Any) -> Tensor:
    visual = model.visual
    x = visual.conv1(images).flatten(2).permute(0, 2, 1)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], 1)
    x = visual.ln_pre(x + visual.positional_embedding).transpose(0, 1)
    x = blocks_directly(visual.transformer, x, gelu, None)
    return visual.ln_post(x[0]) @ visual.proj


def text_directly(model: CLIP, ids: Tensor, gelu: Any) -> Tensor:
    x = model.token_embedding(ids) + model.positional_embedding[: ids.shape[1]]
    mask = torch.full((ids.shape[1],) * 2, float("-inf")).triu(1)
    x = blocks_directly(model.transformer, x.transpose(0, 1), gelu, mask).transpose(0, 1)
    return model.ln_final(x)[torch.arange(len(x)), ids.argmax(1)] @ model.text_projection


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@torch.no_grad()
def test_features_are_those_of_the_activation(vit: CLIP, path: Path, activation: Any) -> None:
    backbone = build_backbone(str(path), activation)
    images = torch.randn(3, 3, 32, 32)
    image = image_directly(vit, images, GELUS[activation])
    text = text_directly(vit, backbone.tokenize(PROMPTS).ids, GELUS[activation])
    near = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(backbone.encode_image(images).global_features, image, **near)
    torch.testing.assert_close(backbone.encode_text(PROMPTS), text, **near)
    # the weights tell the two apart
    other = {"quick_gelu": "gelu", "gelu": "quick_gelu"}[activation]
    assert not torch.allclose(image, image_directly(vit, images, GELUS[other]), atol=1e-3)


def test_a_resnet_has_the_activation_in_its_text_encoder_alone(tmp_path: Path) -> None:
    torch.save(make_clip("resnet").state_dict(), tmp_path / "resnet.pt")
    quick, exact = (build_backbone(str(tmp_path / "resnet.pt"), a) for a in ("quick_gelu", "gelu"))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found, expected = (m.encode_image(images).global_features for m in (quick, exact))
        assert found.equal(expected)
        assert not quick.encode_text(PROMPTS).equal(exact.encode_text(PROMPTS))


def test_fingerprints_tell_the_activations_apart_in_their_first_digits(path: Path) -> None:
    by_choice = {
        a: build_backbone(str(path), a).fingerprint for a in ("auto", "quick_gelu", "gelu")
    }
    assert by_choice["auto"] == by_choice["quick_gelu"]
    # tables compare twelve digits
    assert by_choice["gelu"][:12] != by_choice["auto"][:12]


def test_a_file_of_unknown_origin_is_told_of(path: Path, capsys: pytest.CaptureFixture) -> None:
    build_backbone(str(path))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{path}: ")
    assert "QuickGELU is taken" in line
    assert "MODEL.BACKBONE.ACTIVATION gelu" in line
    build_backbone(str(path), "quick_gelu")
    build_backbone("tiny")
    assert not capsys.readouterr().out


def test_a_copy_of_a_known_file_is_not_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    copy = tmp_path / "copy.pt"
    copy.write_bytes(pretrained.TINY_WEIGHTS.read_bytes())
    build_backbone(str(copy))
    archive = tmp_path / "published.pt"
    torch.jit.save(traced(make_clip("vit")), archive)
    monkeypatch.setitem(pretrained.OPENAI_WEIGHTS, "RN50", (sha256_of_file(archive), "RN50.pt"))
    build_backbone(str(archive))
    assert not capsys.readouterr().out


def test_other_activations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"MODEL\.BACKBONE\.ACTIVATION: unknown name 'relu'"):
        build_backbone("tiny", "relu")
    monkeypatch.setattr(registry, "factories", dict(registry.factories))
    monkeypatch.setattr("vtclip.backbones.build.factories", registry.factories)
    register_backbone("plain")(lambda name: build_backbone("tiny"))
    assert build_backbone("plain").name == "tiny"
    with pytest.raises(UserError, match=r"ACTIVATION: backbone plain has no choice"):
        build_backbone("plain", "gelu")


@pytest.mark.parametrize(("model", "activation"), [("", "gelu"), ("-quickgelu", "quick_gelu")])
@torch.no_grad()
def test_features_are_those_of_open_clip(tmp_path: Path, model: str, activation: Any) -> None:
    open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    torch.manual_seed(0)
    theirs = open_clip.create_model("ViT-B-32" + model).eval()
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "theirs.pt")
    ours = build_backbone(str(tmp_path / "theirs.pt"), activation)
    images = torch.randn(2, 3, 224, 224)
    image, text = theirs.encode_image(images), theirs.encode_text(open_clip.tokenize(PROMPTS))
    near = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(ours.encode_image(images).global_features, image, **near)
    torch.testing.assert_close(ours.encode_text(PROMPTS), text, **near)
