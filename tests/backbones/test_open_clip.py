"""Backbones of open_clip against open_clip itself; its package is optional."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import predict
from vtclip.backbones import Backbone, PromptLearningBackbone, build_backbone
from vtclip.backbones.__main__ import main as command
from vtclip.backbones.open_clip_images import image_encoder
from vtclip.errors import UserError
from vtclip.features import Encoding

from .small_models import OPEN_CLIP, SIGLIP_SCALE, write_open_clip

open_clip = pytest.importorskip(
    "open_clip", reason="no package open_clip_torch: pip install -e '.[open-clip]'"
)
PROMPTS = ["a photo of a cat.", "two dogs, 12 birds", "x"]
# their tokenizers come with open_clip
OWN = [kind for kind in OPEN_CLIP if kind != "siglip"]
Pair = tuple[Any, Backbone]


@pytest.fixture(scope="module")
def pair_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """Give open_clip's model of a kind, and the backbone of the same weights."""
    found: dict[str, Pair] = {}

    def get(kind: str) -> Pair:
        if kind == "siglip":
            pytest.importorskip(
                "transformers", reason="no package transformers: pip install -e '.[hf]'"
            )
        if kind not in found:
            folder = tmp_path_factory.mktemp("models") / kind
            model = write_open_clip(kind, folder)
            found[kind] = model, build_backbone(f"open_clip:{folder}")
        return found[kind]

    return get


def images_for(backbone: Backbone) -> Tensor:
    side = backbone.image_size
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("kind", OPEN_CLIP)
def test_images_are_encoded_as_open_clip_does(kind: str, pair_of) -> None:
    model, backbone = pair_of(kind)
    images = images_for(backbone)
    expected = model.encode_image(images)
    assert backbone.encode_image(images, None).spatial_features is None
    assert backbone.embed_dim == expected.shape[1] == OPEN_CLIP[kind]["embed_dim"]
    for tokens in (None, *backbone.token_kinds):
        found = backbone.encode_image(images, tokens)
        torch.testing.assert_close(found.global_features, expected, atol=1e-5, rtol=1e-5)
    widths = {"joint": backbone.embed_dim, "backbone": backbone.backbone_dim}
    for tokens in backbone.token_kinds:
        spatial = backbone.encode_image(images, tokens).spatial_features
        assert spatial is not None
        assert spatial.shape[::2] == (2, widths[tokens])
        assert not spatial.allclose(spatial[:, :1], atol=1e-3), "all locations are alike"


@torch.no_grad()
@pytest.mark.parametrize("kind", OPEN_CLIP)
def test_texts_are_encoded_as_open_clip_does(kind: str, pair_of) -> None:
    model, backbone = pair_of(kind)
    tokenizer = open_clip.SimpleTokenizer() if kind in OWN else backbone.tokenizer
    expected = model.encode_text(tokenizer(PROMPTS))
    torch.testing.assert_close(backbone.encode_text(PROMPTS), expected, atol=1e-5, rtol=1e-5)
    # whatever stands beside it
    torch.testing.assert_close(
        backbone.encode_text(PROMPTS[2:]), expected[2:], atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(backbone.logit_scale, model.logit_scale.exp())
    assert backbone.embed_dim == expected.shape[1]


@torch.no_grad()
def test_locations_of_a_resnet_are_queries_of_its_attention(pair_of) -> None:
    model, backbone = pair_of("resnet")
    images = images_for(backbone)
    visual = model.visual
    feature_map = visual.forward_intermediates(images, indices=1)["image_intermediates"][0]
    rows = feature_map.flatten(2).transpose(1, 2)
    spatial = backbone.encode_image(images, "backbone").spatial_features
    torch.testing.assert_close(spatial, rows, atol=1e-5, rtol=1e-5)

    pool = visual.attnpool
    x = torch.cat([rows.mean(1, keepdim=True), rows], 1) + pool.positional_embedding
    q, k, v = (
        layer(x).reshape(2, x.shape[1], pool.num_heads, -1).permute(0, 2, 1, 3)
        for layer in (pool.q_proj, pool.k_proj, pool.v_proj)
    )
    weights = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
    expected = pool.c_proj((weights @ v).permute(0, 2, 1, 3).flatten(2))[:, 1:]
    spatial = backbone.encode_image(images, "joint").spatial_features
    torch.testing.assert_close(spatial, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["vit", "vit-quickgelu", "vit-of-mean"])
def test_locations_of_a_vit_are_normalised_and_projected(kind: str, pair_of) -> None:
    model, backbone = pair_of(kind)
    images = images_for(backbone)
    seen: list[Tensor] = []
    visual = model.visual
    hook = visual.transformer.resblocks[-1].register_forward_hook(lambda *a: seen.append(a[2]))
    visual(images)
    hook.remove()
    expected = visual.ln_post(seen[0][:, 1:])
    assert expected.shape == (2, 16, 48)
    spatial = backbone.encode_image(images, "backbone").spatial_features
    torch.testing.assert_close(spatial, expected)
    spatial = backbone.encode_image(images, "joint").spatial_features
    torch.testing.assert_close(spatial, expected @ visual.proj)


@torch.no_grad()
def test_locations_of_timm_go_through_its_head(pair_of) -> None:
    model, backbone = pair_of("timm-vit")
    images = images_for(backbone)
    trunk = model.visual.trunk
    patches = trunk.forward_features(images)[:, trunk.num_prefix_tokens :]
    spatial = backbone.encode_image(images, "joint").spatial_features
    torch.testing.assert_close(spatial, trunk.head(trunk.fc_norm(patches)), atol=1e-5, rtol=1e-5)
    # where the pooling is a mean and the rest linear, the mean of the locations is the whole
    _, backbone = pair_of("timm-cnn")
    found = backbone.encode_image(images_for(backbone), "joint")
    torch.testing.assert_close(
        found.spatial_features.mean(1), found.global_features, atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "pool", "proj"),
    # with a norm in the head; with registers; channels last
    [("test_convnext", "", "linear"), ("test_vit2", "avg", None), ("test_mambaout", "avg", None)],
)
def test_towers_of_timm_of_other_kinds(name: str, pool: str, proj: str | None) -> None:
    from open_clip.timm_model import TimmModel

    torch.manual_seed(0)
    visual = TimmModel(name, 32, image_size=160, pool=pool, proj=proj).eval()
    encoder = image_encoder(visual)
    images = torch.randn(2, 3, 160, 160)
    kept = visual.trunk.forward_features(images)
    if name == "test_vit2":
        kept = kept[:, visual.trunk.num_prefix_tokens :]
    elif name == "test_convnext":
        kept = kept.permute(0, 2, 3, 1)
    kept = kept.reshape(2, -1, kept.shape[-1])
    for tokens, width in (("joint", 32), ("backbone", kept.shape[-1])):
        found = encoder(images, tokens)
        torch.testing.assert_close(found.global_features, visual(images))
        assert found.spatial_features.shape == (2, kept.shape[1], width)
    torch.testing.assert_close(found.spatial_features, kept)
    if name != "test_vit2":
        # of an image with a single location both are the same
        alone = encoder(images[:, :, :32, :32], "joint")
        assert alone.spatial_features.shape[1] == 1
        torch.testing.assert_close(alone.spatial_features[:, 0], alone.global_features)


@torch.no_grad()
def test_pooling_by_attention_leaves_no_joint_features() -> None:
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    torch.manual_seed(0)
    of_coca = VisionTransformer(
        image_size=32,
        patch_size=8,
        width=48,
        layers=2,
        heads=3,
        mlp_ratio=4.0,
        output_dim=32,
        attentional_pool=True,
        output_tokens=True,
    ).eval()
    images = torch.randn(2, 3, 160, 160)
    for visual, side, shape in (
        (of_coca, 32, (2, 16, 48)),
        (
            TimmModel("test_vit3", 32, image_size=160, pool="", proj="linear").eval(),
            160,
            (2, 100, 96),
        ),
    ):
        encoder = image_encoder(visual)
        assert encoder.token_kinds == ("backbone",)
        found = encoder(images[:, :, :side, :side], "backbone")
        expected = visual(images[:, :, :side, :side])
        expected = expected[0] if isinstance(expected, tuple) else expected
        torch.testing.assert_close(found.global_features, expected)
        assert found.spatial_features.shape == shape
    assert image_encoder(torch.nn.Linear(2, 2)) is None


@torch.no_grad()
def test_the_activation_is_that_of_the_configuration_or_of_the_user(pair_of) -> None:
    gelu, mine = pair_of("vit")
    quick, mine_quick = pair_of("vit-quickgelu")
    for key, value in gelu.state_dict().items():
        assert value.equal(quick.state_dict()[key])
    assert mine.fingerprint != mine_quick.fingerprint
    images = images_for(mine)
    difference = (gelu.encode_image(images) - quick.encode_image(images)).abs().max()
    assert difference > 1e-3, "the two activations would not be told apart"
    for name, activation, expected, of_config in (
        (mine.name, "quick_gelu", quick, mine_quick),
        (mine_quick.name, "gelu", gelu, mine),
    ):
        forced = build_backbone(name, activation)
        found = forced.encode_image(images, None).global_features
        torch.testing.assert_close(found, expected.encode_image(images), atol=1e-5, rtol=1e-5)
        texts = forced.encode_text(PROMPTS)
        torch.testing.assert_close(texts, of_config.encode_text(PROMPTS), atol=1e-5, rtol=1e-5)
        assert forced.fingerprint == of_config.fingerprint


@pytest.mark.parametrize(
    ("tag", "is_quick", "line"),
    [("openai", True, "with QuickGELU"), ("laion2b_s34b_b79k", False, "")],
)
def test_published_weights_bring_their_activation(
    tag: str, is_quick: bool, line: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """open_clip warns of weights of QuickGELU in a model of GELU, and builds it."""
    from vtclip.backbones import open_clip_source

    asked: list[dict[str, Any]] = []

    def stop(model: str, **options: Any) -> None:
        asked.append({"model": model, **options})
        raise RuntimeError("not reached in this test")

    monkeypatch.setattr(open_clip, "create_model", stop)
    with pytest.raises(UserError, match="its weights cannot be had"):
        open_clip_source.load(f"open_clip:ViT-B-32/{tag}", "auto")
    (options,) = asked
    assert (options["model"], options["pretrained"]) == ("ViT-B-32", tag)
    assert options["require_pretrained"]
    assert options.get("force_quick_gelu", False) == is_quick
    assert options.get("quick_gelu", True) == is_quick
    assert line in capsys.readouterr().out


def test_preprocessing_is_that_of_the_model(pair_of, capsys) -> None:
    _, vit = pair_of("vit")
    assert vit.image_size == 32
    assert vit.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
    assert vit.std == pytest.approx(open_clip.OPENAI_DATASET_STD)
    _, siglip = pair_of("siglip")
    assert (siglip.image_size, siglip.mean, siglip.std) == (160, (0.5,) * 3, (0.5,) * 3)
    assert siglip.interpolation == vit.interpolation == "bicubic"
    capsys.readouterr()
    build_backbone(siglip.name)
    assert "trained on images squeezed to a square" in capsys.readouterr().out


def test_siglip_has_its_scale_and_no_joint_features(pair_of) -> None:
    _, siglip = pair_of("siglip")
    assert float(siglip.logit_scale) == pytest.approx(SIGLIP_SCALE, rel=1e-5)
    assert siglip.token_kinds == ("backbone",)
    with pytest.raises(UserError, match=r"has no joint spatial features.*VISUAL_TOKENS backbone"):
        Encoding(siglip, lambda image: image, "none", tokens="joint")


@pytest.mark.parametrize("kind", ["vit", "siglip"])
def test_a_prompt_beyond_the_context_is_refused(kind: str, pair_of) -> None:
    _, backbone = pair_of(kind)
    # the longest that fits: start and end, or end alone
    room = {"vit": ("x " * 75, "x " * 76), "siglip": ("x" * 39, "x" * 40)}[kind]
    assert backbone.encode_text([room[0]]).isfinite().all()
    length = backbone.context_length
    with pytest.raises(UserError, match=rf"longer than the {length} tokens of"):
        backbone.encode_text(["x", room[1]])


def test_only_clips_text_towers_can_be_entered_by_embeddings(pair_of) -> None:
    for kind in OWN:
        assert isinstance(pair_of(kind)[1], PromptLearningBackbone)
    assert not isinstance(pair_of("siglip")[1], PromptLearningBackbone)
    _, backbone = pair_of("vit")
    tokens = backbone.tokenize(PROMPTS)
    embeddings = backbone.embed(tokens.ids).detach().requires_grad_()
    backbone.encode_embeddings(embeddings, tokens.ends).sum().backward()
    length = int(tokens.ends[2])
    # padding has no influence
    assert embeddings.grad[2, : length + 1].abs().sum(-1).gt(0).all()
    assert not embeddings.grad[2, length + 1 :].any()


@pytest.fixture
def small_vit(pair_of, tmp_path: Path) -> Iterator[str]:
    """The small ViT as a model that open_clip knows by name, and a file of its weights."""
    from open_clip import factory

    model, _ = pair_of("vit")
    (tmp_path / "small-vit.json").write_text(json.dumps(OPEN_CLIP["vit"]))
    open_clip.add_model_config(tmp_path / "small-vit.json")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pt")
    yield f"open_clip:small-vit/{tmp_path / 'weights.pt'}"
    factory._MODEL_CONFIGS.pop("small-vit")
    factory._MODEL_CONFIG_PATHS.remove(tmp_path / "small-vit.json")


@torch.no_grad()
def test_a_file_of_weights_is_named_with_its_model(small_vit: str, pair_of, capsys) -> None:
    model, other = pair_of("vit")
    backbone = build_backbone(small_vit)
    assert "GELU is taken, as in open_clip's small-vit" in capsys.readouterr().out
    assert backbone.fingerprint == other.fingerprint
    images = images_for(backbone)
    found = backbone.encode_image(images).global_features
    torch.testing.assert_close(found, model.encode_image(images), atol=1e-5, rtol=1e-5)


def test_a_file_of_another_model_is_refused(small_vit: str, pair_of, tmp_path: Path) -> None:
    torch.save(pair_of("resnet")[0].state_dict(), tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"weights\.pt: lacks .* which open_clip's small-vit has"):
        build_backbone(small_vit)
    (tmp_path / "weights.pt").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"weights\.pt: neither a TorchScript archive"):
        build_backbone(small_vit)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda t: t.to_sparse(), "ln_final.weight is no plain tensor"),
        (lambda t: t.to("meta"), "ln_final.weight is no plain tensor"),
        (lambda t: t.long(), "ln_final.weight is of type torch.int64, not a float"),
        (lambda t: t.to(torch.complex64), "ln_final.weight is of type torch.complex64"),
        (lambda t: t / 0, "ln_final.weight holds values that are not finite in fp32"),
        (lambda t: t.double() * 1e300, "ln_final.weight holds values that are not finite in fp32"),
    ],
)
def test_tensors_that_are_no_weights_are_refused(
    change: Callable[[Tensor], Tensor], line: str, small_vit: str, pair_of, tmp_path: Path
) -> None:
    weights = pair_of("vit")[0].state_dict()
    weights["ln_final.weight"] = change(weights["ln_final.weight"])
    torch.save(weights, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=rf"weights\.pt: {line}"):
        build_backbone(small_vit)


@pytest.mark.parametrize(
    ("rest", "line"),
    [
        ("ViT-B-61/openai", "no model 'ViT-B-61'; near it are ViT-B-16"),
        ("ViT-B-16", "give weights as open_clip:ViT-B-16/WEIGHTS, .* laion2b_s34b_b88k"),
        ("RN101/openia", "or one of those published for RN101: openai, yfcc15m"),
    ],
)
def test_unknown_names_say_what_can_be_had(
    rest: str, line: str, run_train, tmp_path: Path, capfd
) -> None:
    arguments = ["--trainer", "ZeroshotCLIP", "--backbone", f"open_clip:{rest}"]
    assert run_train(*arguments, "--output-dir", str(tmp_path / "run")) == 2
    (shown,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error:")]
    assert re.search(line, shown), shown
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"open_clip_config\.json: no such file"):
        build_backbone(f"open_clip:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text("[]")
    with pytest.raises(UserError, match=r"open_clip_config\.json: has no model_cfg"):
        build_backbone(f"open_clip:{tmp_path}")
    content = {"model_cfg": {"embed_dim": 8, "vision_cfg": {"depth": 3}, "text_cfg": {}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="holds no weights"):
        build_backbone(f"open_clip:{tmp_path}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"the model cannot be had .*depth"):
        build_backbone(f"open_clip:{tmp_path}")


def train(run_train, folder: Path, backbone: str, trainer: str, *options: str) -> int:
    return run_train(
        *("--trainer", trainer, "--backbone", backbone, "--output-dir", str(folder)),
        *("--shots", "1", "OPTIM.MAX_EPOCH", "2", *options),
    )


def test_a_run_predicts_with_its_backbone(
    small_vit: str, run_train, digits_root: Path, tmp_path: Path, capsys
) -> None:
    run = tmp_path / "run"
    assert train(run_train, run, small_vit, "VTCLIP") == 0
    model = json.loads((run / "model.json").read_text())
    assert model["backbone"] == small_vit
    assert model["backbone_fingerprint"] == build_backbone(small_vit).fingerprint
    images = sorted((digits_root / "digits" / "images" / "one").glob("*.png"))[:3]
    capsys.readouterr()
    assert predict.main([str(run), *map(str, images), "--format", "json", "--top", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 3
    # other weights under that name
    torch.save(build_backbone("tiny").state_dict(), tmp_path / "weights.pt")
    assert predict.main([str(run), str(images[0])]) == 2


def test_siglip_learns_from_features_before_the_joint_space(
    pair_of, run_train, tmp_path: Path, capfd
) -> None:
    _, siglip = pair_of("siglip")
    assert train(run_train, tmp_path / "a", siglip.name, "VTCLIP") == 2
    (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error:")]
    assert "TRAINER.VTCLIP.VISUAL_TOKENS backbone works" in line
    options = ("TRAINER.VTCLIP.VISUAL_TOKENS", "backbone")
    assert train(run_train, tmp_path / "b", siglip.name, "VTCLIP", *options) == 0
    assert "the head learns their projection" in capfd.readouterr().out
    assert train(run_train, tmp_path / "c", siglip.name, "CoOp") == 2
    assert "takes texts only" in capfd.readouterr().err


def test_coop_trains_through_open_clips_text_tower(pair_of, run_train, tmp_path: Path) -> None:
    _, vit = pair_of("vit")
    assert train(run_train, tmp_path / "run", vit.name, "CoOp", "TRAINER.COOP.N_CTX", "2") == 0


def test_ls_lists_what_open_clip_publishes(capsys) -> None:
    assert command(["ls", "open_clip"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "open_clip:ViT-B-16/laion2b_s34b_b88k" in lines
    assert len(lines) == len(open_clip.list_pretrained())
