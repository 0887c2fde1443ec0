"""Exported runs: the ONNX graph scores as PyTorch does, the folder loads as the run does."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import export
import train  # noqa: F401  registers the stand-in's datasets
import vtclip
from tests.backbones.test_openai_clip import make_clip
from tests.conftest import ROOT, RunTrain
from tests.test_startup import run as run_code
from tests.trainers.bank import CLASSES, WIDTH, write_bank
from vtclip import extras
from vtclip.errors import UserError
from vtclip.export import export_onnx, folder, onnx_file, write_folder
from vtclip.export.card import escaped
from vtclip.features import Features
from vtclip.method import registered_methods
from vtclip.plugins import import_modules
from vtclip.predictions import read_predictions
from vtclip.predictor import Predictor, restore_trainer

import_modules(["trainers", "datasets"])
# these two need prompts, so a backbone
ON_IMAGES = ("CoOp", "ZeroshotCLIP2")
METHODS = registered_methods()
# of methods with the same logits, such as TipAdapter and TipAdapterF, one makes their graph
OF_LOGITS = {
    METHODS[name].logits: name for name in sorted({*METHODS} - {*ON_IMAGES, "OwnMethod"})[::-1]
}
CASES = [
    *((method, ()) for method in sorted(OF_LOGITS.values())),
    (
        "VTCLIP",
        ("N_LAYERS", "2", "NORM", "pre", "INCLUDE_GLOBAL", "True", "RESIDUAL_LEARNT", "True"),
    ),
    (
        "VTCLIP",
        (
            *("VISUAL_TOKENS", "backbone", "CLIP_LOGIT_WEIGHT", "0.3", "PREC", "amp"),
            *("SELF_ATTENTION", "False", "FFN", "False"),
        ),
    ),
]
WRITTEN = ["README.md", "classes.json", "model.json", "model.safetensors", "result.json"]


@pytest.fixture(scope="module")
def ort() -> Any:
    pytest.importorskip("onnxscript", reason="no onnxscript: pip install '.[onnx]'")
    return pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install '.[onnx]'")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bank(tmp_path_factory.mktemp("bank") / "bank.npz")


@pytest.fixture(scope="module")
def on_bank(
    run_train_once: RunTrain, bank: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    @cache
    def make(method: str, *options: str) -> Path:
        target = tmp_path_factory.mktemp("runs") / method
        config = str(ROOT / "configs" / "datasets" / "feature_bank.yaml")
        arguments = ("--trainer", method, "--output-dir", str(target))
        common = ("DATASET.FEATURE_BANK", str(bank), "DATASET.NUM_SHOTS", "4")
        training = ("OPTIM.MAX_EPOCH", "6", "DATALOADER.TRAIN_X.BATCH_SIZE", "8")
        code = run_train_once(
            *arguments, "--dataset-config-file", config, *common, *training, *options
        )
        assert code == 0
        return target

    return make


@pytest.fixture(scope="module")
def exported(
    ort: Any, on_bank: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    @cache
    def make(method: str, *options: str) -> Path:
        target = tmp_path_factory.mktemp("exported") / "out" / "head.onnx"
        assert export.main([str(on_bank(method, *options)), "--onnx", str(target)]) == 0
        assert [path.name for path in target.parent.iterdir()] == ["head.onnx"]
        return target

    return make


@pytest.fixture(scope="module")
def on_digits(
    run_train_once: RunTrain, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    @cache
    def make(method: str, *options: str) -> Path:
        target = tmp_path_factory.mktemp("runs") / method
        short = ("OPTIM.MAX_EPOCH", "2", "FEATURES.VIEWS", "1", "DATASET.NUM_SHOTS", "2")
        arguments = ("--trainer", method, "--output-dir", str(target))
        assert run_train_once(*arguments, *short, *options) == 0
        return target

    return make


def bank_features(path: Path, rows: slice) -> Features:
    with np.load(path) as arrays:
        x, spatial = arrays["test_x"][rows], arrays["test_spatial"][rows]
    return Features(torch.from_numpy(x), torch.from_numpy(spatial))


def inputs_of(session: Any, features: Features) -> dict[str, Any]:
    return {entry.name: getattr(features, entry.name).numpy() for entry in session.get_inputs()}


@pytest.mark.parametrize(("method", "options"), CASES)
def test_every_method_scores_as_in_torch(
    method: str,
    options: tuple[str, ...],
    ort: Any,
    bank: Path,
    on_bank: Callable[..., Path],
    exported: Callable[..., Path],
) -> None:
    node = f"TRAINER.{method.upper()}."
    named = [node + text if text.isupper() else text for text in options]
    session = ort.InferenceSession(exported(method, *named), providers=["CPUExecutionProvider"])
    # restored anew, so on the fast path that predictions take
    trainer = restore_trainer(on_bank(method, *named)).trainer
    if "amp" in options:
        # the graph is in fp32
        trainer.options = type(trainer.options)({**trainer.options, "PREC": "fp32"})
    for rows in (slice(5, 6), slice(40, 43)):
        features = bank_features(bank, rows)
        check_scores(session, features, trainer.logits)
        assert session.get_outputs()[0].shape[1] == CLASSES
    assert [output.name for output in session.get_outputs()] == ["logits", "probabilities"]
    # the spatial features are inputs of the methods that look at them, and of no others
    looks = method in ("VTCLIP", "VTCLIPPlus", "CALIP")
    assert ("spatial_features" in inputs_of(session, features)) == looks


def test_the_number_of_locations_is_free(
    ort: Any, on_bank: Callable[..., Path], exported: Callable[..., Path]
) -> None:
    session = ort.InferenceSession(exported("VTCLIP"))
    features = Features(torch.randn(2, WIDTH), torch.randn(2, 9, WIDTH))
    check_scores(session, features, restore_trainer(on_bank("VTCLIP")).trainer.logits)


def test_a_method_of_prompts_scores_as_in_torch(
    ort: Any, on_digits: Callable[..., Path], tmp_path: Path
) -> None:
    torch.save(make_clip("resnet").state_dict(), tmp_path / "resnet.pt")
    weights = ("MODEL.BACKBONE.NAME", str(tmp_path / "resnet.pt"))
    run = on_digits("CoOp", *weights, "TRAINER.COOP.N_CTX", "4")
    restored = restore_trainer(run)
    export_onnx(restored, tmp_path / "head.onnx")
    features = Features(torch.randn(3, 32), None)
    session = ort.InferenceSession(tmp_path / "head.onnx")
    check_scores(session, features, restore_trainer(run).trainer.logits)


@torch.no_grad()
def check_scores(
    session: Any, features: Features, logits_of: Callable[[Features], torch.Tensor]
) -> None:
    expected = logits_of(features).float()
    logits, probabilities = session.run(None, inputs_of(session, features))
    assert logits.dtype == probabilities.dtype == np.float32
    assert logits.shape == expected.shape
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(probabilities, expected.softmax(-1), atol=1e-4, rtol=0)


def pixels_by_metadata(image: Path, steps: dict[str, Any]) -> Any:
    """Preprocess a square image by what the file says of it, without torchvision."""
    side = steps["resize_shorter_side"]
    assert steps["crop_centre"] == [side, side]
    method = getattr(Image.Resampling, steps["interpolation"].upper())
    with Image.open(image) as opened:
        assert opened.width == opened.height
        values = np.asarray(opened.convert(steps["mode"]).resize((side, side), method))
    normalised = (values / 255 - np.array(steps["mean"])) / np.array(steps["std"])
    return normalised.transpose(2, 0, 1).astype(np.float32)


@pytest.mark.parametrize(("method", "kind"), [("VTCLIP", "resnet"), ("CALIP", "vit")])
def test_from_images_it_scores_as_the_run(
    method: str,
    kind: str,
    ort: Any,
    on_digits: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    torch.save(make_clip(kind).state_dict(), tmp_path / "weights" / f"{kind}.pt")
    run = on_digits(method, "MODEL.BACKBONE.NAME", f"weights/{kind}.pt")
    target = tmp_path / "images.onnx"
    assert export.main([str(run), "--onnx", str(target), "--with-backbone"]) == 0
    session = ort.InferenceSession(target)
    (entry,) = session.get_inputs()
    meta = session.get_modelmeta().custom_metadata_map
    names = json.loads(meta["classnames"])
    root = Path(json.loads((run / "result.json").read_text())["dataset_root"])
    rows = read_predictions(run)
    for some in (rows[:1], rows[50:53]):
        steps = json.loads(meta["preprocessing"])
        pixels = np.stack([pixels_by_metadata(root / row.path, steps) for row in some])
        found = dict(
            zip(("logits", "probabilities"), session.run(None, {entry.name: pixels}), strict=True)
        )
        predictor = vtclip.load(run)
        features = predictor.features([root / row.path for row in some])
        with torch.no_grad():
            expected = predictor.trainer.logits(features)
        np.testing.assert_allclose(found["logits"], expected, atol=1e-4, rtol=0)
        for row, probabilities in zip(some, found["probabilities"], strict=True):
            probability = probabilities[names.index(row.predicted)]
            assert probability == pytest.approx(row.predicted_probability, abs=1e-4)
            assert probability == pytest.approx(probabilities.max(), abs=1e-6)
    assert meta["backbone"] == f"{kind}.pt"
    assert meta["backbone_fingerprint"] == predictor.backbone.fingerprint
    assert json.loads(meta["templates"]) == predictor.model.templates
    assert meta["method"] == method


# ---- refusals


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert export.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    *_, line = err.splitlines()
    assert line.startswith("error: ")
    return line


def test_without_the_packages_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    line = refusal([str(tmp_path), "--onnx", str(tmp_path / "x.onnx")], capsys)
    assert "needs onnx, onnxscript, onnxruntime; pip install 'vtclip[onnx]'" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [[], ["--onnx", "x.json"], ["--folder", "x", "--with-backbone"]]
)
def test_arguments_that_make_no_sense(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        export.main(["run", *arguments])
    assert "error: " in capsys.readouterr().err


def test_help_needs_no_torch() -> None:
    parse = "import export\ntry:\n    export.parse_args(['--help'])\nexcept SystemExit:\n    pass"
    assert run_code(f"import sys\n{parse}\nprint('torch' in sys.modules)") == "False"


def test_a_run_on_features_has_no_backbone(
    ort: Any, on_bank: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = on_bank("ZeroshotCLIP")
    target = tmp_path / "x.onnx"
    line = refusal([str(run), "--onnx", str(target), "--with-backbone"], capsys)
    assert "which has no backbone; leave --with-backbone out" in line
    line = refusal([str(run), "--onnx", str(target), "--backbone", "tiny"], capsys)
    assert "leave --backbone out" in line
    assert not target.exists()
    with pytest.raises(UserError, match="which has no backbone to read images with"):
        vtclip.load(run)
    with pytest.raises(UserError, match="no features but those that are given"):
        restore_trainer(run).trainer.provider.split("test")


def by_value(features: Features) -> torch.Tensor:
    """Branch on a value, which no graph can."""
    g = features.global_features
    return g if g.sum() > 0 else -g


def by_len(features: Features) -> torch.Tensor:
    """Take len(), which the exporter reads as the number of images of its example."""
    return features.global_features.new_zeros(len(features), CLASSES)


@pytest.mark.parametrize(
    ("logits", "message"),
    [(by_value, "cannot be exported to ONNX"), (by_len, "has a fixed number of images")],
)
def test_a_method_that_cannot_be_exported_is_refused_in_one_line(
    logits: Callable[[Features], torch.Tensor],
    message: str,
    ort: Any,
    on_bank: Callable[..., Path],
    tmp_path: Path,
) -> None:
    restored = restore_trainer(on_bank("ZeroshotCLIP"))
    restored.trainer.logits = logits  # type: ignore[method-assign]
    with pytest.raises(UserError, match=message) as caught:
        export_onnx(restored, tmp_path / "new" / "x.onnx")
    assert str(caught.value).startswith("ZeroshotCLIP: ")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("new/*"))


def test_a_graph_with_other_scores_gets_no_name(
    ort: Any,
    on_bank: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restored = restore_trainer(on_bank("ZeroshotCLIP"))
    scored = onnx_file._logits
    monkeypatch.setattr(onnx_file, "_logits", lambda *given: scored(*given) * 1.001)
    with pytest.raises(UserError, match="scores otherwise than PyTorch"):
        export_onnx(restored, tmp_path / "new" / "x.onnx")
    assert not list(tmp_path.glob("new/*"))


# ---- the folder


def probabilities_of(predictor: Predictor, run: Path) -> list[list[float]]:
    root = Path(json.loads((run / "result.json").read_text())["dataset_root"])
    images = [root / row.path for row in read_predictions(run)[:3]]
    return predictor.probabilities(predictor.features(images))[0].tolist()


def test_the_folder_loads_as_the_run_does(on_digits: Callable[..., Path], tmp_path: Path) -> None:
    run, target = on_digits("VTCLIP"), tmp_path / "hub" / "digits"
    assert export.main([str(run), "--folder", str(target)]) == 0
    assert sorted(path.name for path in target.iterdir()) == WRITTEN
    assert [path.name for path in target.parent.iterdir()] == ["digits"]
    assert probabilities_of(vtclip.load(target), run) == probabilities_of(vtclip.load(run), run)
    assert json.loads((target / "classes.json").read_text()) == vtclip.load(run).classnames
    for path in target.glob("*.*"):
        assert str(tmp_path.parent).encode() not in path.read_bytes(), path
        assert b"site-packages" not in path.read_bytes(), path


def test_the_card_has_the_figures_of_the_run(
    on_digits: Callable[..., Path], tmp_path: Path
) -> None:
    run, target = on_digits("TipAdapter"), tmp_path / "hub"
    assert export.main([str(run), "--folder", str(target)]) == 0
    result = json.loads((run / "result.json").read_text())
    card = (target / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: vtclip\n")
    assert "\n# TipAdapter on Digits\n" in card
    assert f"| TipAdapter | {result['accuracy']:.2f} % |" in card
    assert f"| zero-shot CLIP, same prompts | {result['zero_shot_accuracy']:.2f} % |" in card
    assert "| seed | 1 |" in card
    assert "| selected on | val |" in card
    assert f"alpha = {result['search']['chosen']['alpha']:g}".replace(".", "\\.") in card
    assert "TO BE FILLED IN" in card
    assert "centre crop 96 x 96" in card


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a|b", r"a\|b"),
        ("*bold* `code`", r"\*bold\* \`code\`"),
        ("<script>", r"\<script\>"),
        ("[x](y)", r"\[x\]\(y\)"),
        ("two\nlines", "two lines"),
        ("AT&amp;T", r"AT\&amp;T"),
        ("d\u00e9j\u00e0 vu", "d\u00e9j\u00e0 vu"),
    ],
)
def test_class_names_are_no_markdown(name: str, shown: str) -> None:
    assert escaped(name) == shown
    # a backslash before a sign of ASCII shows the sign (CommonMark, section 2.4)
    assert re.sub(r"\\(.)", r"\1", escaped(name)) == " ".join(name.split())


def test_a_folder_with_files_is_left_as_it_is(
    on_digits: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, target = on_digits("TipAdapter"), tmp_path / "hub"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    assert "holds files already" in refusal([str(run), "--folder", str(target)], capsys)
    assert [path.name for path in target.iterdir()] == ["mine.txt"]
    line = refusal([str(run), "--folder", str(target / "mine.txt")], capsys)
    assert "is not a folder" in line
    (target / "mine.txt").unlink()
    assert export.main([str(run), "--folder", str(target)]) == 0
    assert sorted(path.name for path in target.iterdir()) == WRITTEN


def test_nothing_half_written_stays(
    on_bank: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored = restore_trainer(on_bank("ZeroshotCLIP"))

    def full(path: Path, text: str) -> None:
        raise UserError(f"{path}: cannot be written (No space left on device).")

    monkeypatch.setattr(folder, "write_text", full)
    with pytest.raises(UserError, match="No space left"):
        write_folder(restored, tmp_path / "hub" / "new")
    assert not list((tmp_path / "hub").iterdir())


def test_a_file_of_weights_is_published_by_its_name(
    on_digits: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "secret" / "weights.pt"
    weights.parent.mkdir()
    shutil.copy(ROOT / "vtclip" / "backbones" / "weights" / "tiny.pt", weights)
    run = on_digits("CLIPAdapter", "MODEL.BACKBONE.NAME", str(weights))
    assert export.main([str(run), "--folder", str(tmp_path / "hub")]) == 0
    for path in (tmp_path / "hub").iterdir():
        assert b"secret" not in path.read_bytes(), path
    assert 'backbone="path/of/the/weights"' in (tmp_path / "hub" / "README.md").read_text()
    assert "| shots per class | 2 |" in (tmp_path / "hub" / "README.md").read_text()
    loaded = vtclip.load(tmp_path / "hub", backbone=str(weights))
    assert probabilities_of(loaded, run) == probabilities_of(vtclip.load(run), run)
