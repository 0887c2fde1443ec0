"""A finished run at work: what it predicts is what its test found, wherever its folder lies."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import predict
import train  # noqa: F401  registers the stand-in's datasets
import vtclip
from tests.conftest import ROOT, RunTrain
from vtclip.errors import UserError
from vtclip.method import registered_methods
from vtclip.plugins import import_modules
from vtclip.predictions import read_predictions
from vtclip.predictor import Predictor

SHORT = ("OPTIM.MAX_EPOCH", "1", "FEATURES.VIEWS", "1", "DATASET.NUM_SHOTS", "2")
OPTIONS = {
    "TipAdapter": ("TRAINER.TIPADAPTER.AUGMENT_EPOCHS", "1"),
    "TipAdapterF": ("TRAINER.TIPADAPTERF.AUGMENT_EPOCHS", "1"),
    "ProKeR": ("TRAINER.PROKER.AUGMENT_EPOCHS", "1"),
    "CoOp": ("TRAINER.COOP.N_CTX", "4"),
    "VTCLIPPlus": ("TRAINER.VTCLIPPLUS.AUGMENT_EPOCHS", "1"),
    "VTCLIP": ("TRAINER.VTCLIP.RESIDUAL_LEARNT", "True", "TRAINER.VTCLIP.SEARCH_WEIGHT", "True"),
}
import_modules(["trainers", "datasets"])
METHODS = sorted(name for name in registered_methods() if name != "OwnMethod")
SEARCHED = [name for name in METHODS if "SEARCH" in registered_methods()[name].OPTIONS]


@pytest.fixture
def trained(run_train: RunTrain, tmp_path: Path) -> Callable[..., Path]:
    def make(method: str, *options: str) -> Path:
        folder = tmp_path / "runs" / method
        options = (*SHORT, *OPTIONS.get(method, ()), *options)
        assert run_train("--trainer", method, "--output-dir", str(folder), *options) == 0
        return folder

    return make


@pytest.fixture
def vt_run(trained: Callable[..., Path]) -> Path:
    return trained("VTCLIP")


def test_images(folder: Path, n: int) -> list[Path]:
    root = Path(json.loads((folder / "result.json").read_text())["dataset_root"])
    return [root / row.path for row in read_predictions(folder)[:n]]


test_images.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        *((method, ()) for method in METHODS),
        *((method, (f"TRAINER.{method.upper()}.SEARCH", "False")) for method in SEARCHED),
    ],
)
def test_every_method_predicts_what_its_test_found(
    method: str, options: tuple[str, ...], trained: Callable[..., Path], tmp_path: Path
) -> None:
    folder = trained(method, *options)
    found = read_predictions(folder)[:40]
    images = test_images(folder, 40)
    moved = tmp_path / "elsewhere"
    shutil.move(folder, moved)
    predictor = vtclip.load(moved)
    predictions = predictor.predict(images, top=len(predictor.classnames))
    for row, prediction in zip(found, predictions, strict=True):
        probability = {guess.classname: guess.probability for guess in prediction.top}
        assert sum(probability.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.classname == row.predicted
        # other sizes of batch round otherwise
        assert prediction.probability == pytest.approx(row.predicted_probability, abs=5e-6)
        assert probability[row.label] == pytest.approx(row.label_probability, abs=5e-6)
        assert prediction.zero_shot.classname == row.zero_shot


def test_sizes_and_modes_are_those_of_photographs(vt_run: Path, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)
    rgb = Image.fromarray(colours)
    made = {
        "wide.png": rgb,
        "grey.png": rgb.convert("L"),
        "palette.gif": rgb.convert("P"),
        "alpha.png": rgb.convert("RGBA"),
        "cmyk.jpg": rgb.convert("CMYK"),
        "deep.png": Image.fromarray(np.full((9, 300), 40_000, np.uint16)),
    }
    for name, image in made.items():
        image.save(tmp_path / name)
    predictor = vtclip.load(vt_run)
    from_files = predictor.predict([tmp_path / name for name in made])
    from_memory = predictor.predict(list(made.values()))
    for name, file, memory in zip(made, from_files, from_memory, strict=True):
        # JPEG changes the values, a palette is chosen by the format
        if name.endswith(".png"):
            assert file == memory


def test_a_file_that_cannot_be_read_is_named_and_left_out(
    vt_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, path in enumerate(test_images(vt_run, 3)):
        shutil.copy(path, photos / f"{number}.png")
    (photos / "broken.jpg").write_bytes(b"no image")
    capsys.readouterr()
    assert predict.main([str(vt_run), str(photos), "--format", "csv", "--top", "2"]) == 1
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["path"] for row in rows] == [str(photos / f"{n}.png") for n in (0, 0, 1, 1, 2, 2)]
    assert [row["rank"] for row in rows] == ["1", "2"] * 3
    expected = read_predictions(vt_run)[0]
    assert rows[0]["class"] == expected.predicted
    assert float(rows[0]["probability"]) == pytest.approx(expected.predicted_probability, abs=5e-6)
    assert rows[0]["zero_shot_class"] == expected.zero_shot
    assert f"left out: {photos / 'broken.jpg'}: not an image" in err
    assert "1 of 4 files were left out" in err
    assert "Traceback" not in err


def test_the_formats_say_the_same(vt_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(test_images(vt_run, 1)[0])
    said = {}
    for name in ("text", "csv", "json"):
        capsys.readouterr()
        assert predict.main([str(vt_run), image, "--format", name, "--top", "3"]) == 0
        said[name] = capsys.readouterr().out
    (found,) = json.loads(said["json"])
    rows = list(csv.DictReader(said["csv"].splitlines()))
    assert [guess["classname"] for guess in found["top"]] == [row["class"] for row in rows]
    assert len(rows) == 3
    best, zero_shot = found["top"][0], found["zero_shot"]
    assert said["text"].splitlines()[1].split() == [
        f"{best['probability']:.2%}",
        best["classname"],
    ]
    assert f"zero-shot: {zero_shot['classname']}" in said["text"]


def test_class_names_are_a_list(
    run_train: RunTrain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ['a, b "c"', "d\u00e9j\u00e0 vu", "$x$"]
    rng = np.random.default_rng(0)
    for number in range(len(names)):
        for part, count in (("train", 2), ("val", 1), ("test", 2)):
            folder = tmp_path / "photos" / part / f"class{number}"
            folder.mkdir(parents=True)
            for n in range(count):
                values = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(values).save(folder / f"{n}.png")
    lines = [f"class{number}\t{name}" for number, name in enumerate(names)]
    (tmp_path / "photos" / "classnames.txt").write_text("\n".join(lines), encoding="utf-8")
    arguments = ("--root", str(tmp_path / "photos"), "--output-dir", str(tmp_path / "run"))
    config = ("--dataset-config-file", "configs/datasets/image_folder.yaml")
    assert run_train(*arguments, *config, *SHORT) == 0
    predictor = vtclip.load(tmp_path / "run")
    assert predictor.classnames == names
    capsys.readouterr()
    image = str(tmp_path / "photos" / "test" / "class0" / "0.png")
    assert predict.main([str(tmp_path / "run"), image, "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert sorted(row["class"] for row in rows) == sorted(names)


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert predict.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    *_, line = err.splitlines()
    assert line.startswith("error: ")
    return line


def test_nothing_but_predictions_is_printed(
    vt_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = test_images(vt_run, 1)
    capsys.readouterr()
    assert predict.main([str(vt_run), str(images[0]), "--top", "1"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err == ""


def test_what_is_no_finished_run_is_refused_in_one_line(
    vt_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(test_images(vt_run, 1)[0])
    assert "not the folder of a finished run" in refusal([str(tmp_path), image], capsys)
    assert "no such image or folder" in refusal([str(vt_run), str(tmp_path / "x.png")], capsys)
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refusal([str(vt_run), str(tmp_path / "empty")], capsys)

    seeds = tmp_path / "seeds"
    for seed in ("seed1", "seed2"):
        shutil.copytree(vt_run, seeds / seed)
    assert "holds several runs (seed1, seed2)" in refusal([str(seeds), image], capsys)
    shutil.rmtree(seeds / "seed2")
    assert predict.main([str(seeds), image]) == 0

    old = tmp_path / "old"
    shutil.copytree(vt_run, old)
    (old / "model.json").unlink()
    assert "has a result but no model.json" in refusal([str(old), image], capsys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "not a model of format 1"),
        ({"classnames": "a, b"}, "damaged (classnames is not a list"),
        ({"scale": None}, "damaged (scale is not a finite number"),
        ({"embed_dim": 3}, "text features are not of shape (10, 3)"),
        ({"trainer": "Nobody"}, "of method Nobody, which is not known here; --plugin"),
        ({"from_images": False}, "of a run on a file of features"),
        ({"backbone_fingerprint": "0" * 64}, "has other weights"),
    ],
)
def test_a_changed_model_is_refused_in_one_line(
    change: dict[str, Any], message: str, vt_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = vt_run / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert message in refusal([str(vt_run), str(test_images(vt_run, 1)[0])], capsys)


def test_changed_tensors_are_refused(vt_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = vt_run / "model.safetensors"
    tensors = load_file(path)
    save_file({name: value + 1 for name, value in tensors.items()}, path)
    image = str(test_images(vt_run, 1)[0])
    assert "not the file that model.json was written with" in refusal([str(vt_run), image], capsys)
    path.unlink()
    assert "cannot be read (No such file" in refusal([str(vt_run), image], capsys)


def test_an_evaluation_leaves_no_model(vt_run: Path, run_train: RunTrain, tmp_path: Path) -> None:
    again = tmp_path / "again"
    arguments = ("--eval-only", "--model-dir", str(vt_run), "--output-dir", str(again))
    assert run_train(*arguments, *SHORT, *OPTIONS["VTCLIP"]) == 0
    assert (again / "result.json").is_file()
    assert not (again / "model.json").exists()


# ---- attention


@torch.no_grad()
def plain_weights(predictor: Predictor, image: Path, layer: int) -> torch.Tensor:
    """Softmax of scaled products, written out, of the inputs of a layer."""
    head, texts = predictor.trainer.head, predictor.trainer.text_features
    spatial = predictor.features([image]).spatial_features
    unit = torch.nn.functional.normalize
    keys, x = unit(spatial, dim=-1), unit(texts, dim=-1)[None]
    for number, block in enumerate(head.layers):
        x = block.self_attend(x)
        attention = block.cross_attention
        q, k = attention.q_proj(x), attention.k_proj(keys)
        q, k = (t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in (q, k))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        if number == layer:
            return weights
        x = block.cross_attend(x, attention.q_proj(x), keys)
    raise AssertionError


def test_attention_is_that_of_the_trained_module(trained: Callable[..., Path]) -> None:
    options = ("TRAINER.VTCLIP.N_LAYERS", "2", "TRAINER.VTCLIP.PREC", "fp32")
    folder = trained("VTCLIP", *options)
    (image,) = test_images(folder, 1)
    predictor = vtclip.load(folder)
    for layer in (0, 1):
        weights = predictor.attention([image], layer)
        assert weights.shape == (1, 8, 10, 3, 3)
        torch.testing.assert_close(weights.sum((-1, -2)), torch.ones(1, 8, 10))
        expected = plain_weights(predictor, image, layer).unflatten(-1, (3, 3))
        torch.testing.assert_close(weights, expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(predictor.attention([image]), predictor.attention([image], 1))
    with pytest.raises(UserError, match="layer 2: the run has 2"):
        predictor.attention([image], 2)


def test_the_key_of_the_global_features_is_no_location(trained: Callable[..., Path]) -> None:
    folder = trained("VTCLIP", "TRAINER.VTCLIP.INCLUDE_GLOBAL", "True")
    weights = vtclip.load(folder).attention(test_images(folder, 1))
    assert weights.shape == (1, 8, 10, 3, 3)
    assert (weights.sum((-1, -2)) < 1).all()


def test_overlays_are_pictures(vt_run: Path, tmp_path: Path) -> None:
    images = [str(path) for path in test_images(vt_run, 2)]
    assert predict.main([str(vt_run), *images, "--overlay", str(tmp_path / "overlay")]) == 0
    pictures = sorted((tmp_path / "overlay").iterdir())
    assert [path.name for path in pictures] == [
        f"000{n}-{Path(image).stem}.png" for n, image in enumerate(images, start=1)
    ]
    with Image.open(pictures[0]) as picture:
        assert picture.width > 300


def test_a_method_without_attention_says_so(
    trained: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained("ZeroshotCLIP")
    image = str(test_images(folder, 1)[0])
    line = refusal([str(folder), image, "--overlay", str(tmp_path / "overlay")], capsys)
    assert "ZeroshotCLIP: its texts do not look at the image" in line


def test_the_five_lines_of_the_readme(vt_run: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = (part for part in text.split("```python\n")[1:] if "vtclip.load" in part)
    lines = code.split("```")[0].replace("output/digits/VTCLIP/tiny_16shots/seed1", str(vt_run))
    found: dict[str, Any] = {}
    exec(lines.replace("photo.jpg", str(test_images(vt_run, 1)[0])), found)
    assert found["prediction"].classname == read_predictions(vt_run)[0].predicted
    assert found["weights"].shape == (1, 8, 10, 3, 3)
