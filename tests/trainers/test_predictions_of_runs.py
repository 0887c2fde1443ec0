"""What a run leaves of each test image and of its probabilities, against the file of features."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vtclip import checkpoints
from vtclip.method import registered_methods
from vtclip.plugins import import_modules
from vtclip.predictions import PREDICTIONS_FILE
from vtclip.results import RESULT_FILE, Result, read_result

from ..conftest import RunTrain
from .bank import CLASSES, write_bank
from .conftest import Arguments, Build

Array = NDArray[np.float64]

import_modules(["trainers", "datasets"])
# CoOp has no text encoder on a file of features
METHODS = sorted(set(registered_methods()) - {"CoOp", "ZeroshotCLIP2"})
NAMES = [f"thing_{k}" for k in range(CLASSES)]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / PREDICTIONS_FILE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def result_of(folder: Path) -> Result:
    return read_result(folder / RESULT_FILE)


def normalised(x: Any) -> Array:
    x = np.asarray(x, dtype=np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def log_softmax(z: Array) -> Array:
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def fitted(folder: Path) -> dict[str, Array]:
    content = checkpoints.load(checkpoints.find(folder / "fitted", None))
    return {name: value.double().numpy() for name, value in content["state_dict"].items()}


def logits_of_method(trainer: str, folder: Path, bank: Path, x: Any) -> Array:
    """The logits of global features [N, D], in float64, from what the run saved."""
    arrays = np.load(bank)
    g, texts = normalised(x), normalised(arrays["text"])
    zero_shot = 20 * g @ texts.T
    if trainer == "ZeroshotCLIP":
        return zero_shot
    tensors = fitted(folder)
    if trainer == "LinearProbe":
        return np.asarray(x, np.float64) @ tensors["weight"].T + tensors["bias"]
    if trainer == "SSText":
        return 20 * g @ normalised(tensors["weight"]).T
    assert trainer == "TipAdapter"
    search = result_of(folder).search
    assert search is not None
    values = np.eye(CLASSES)[tensors["labels"].astype(int)]
    affinity = np.exp(-search.chosen["beta"] * (1 - g @ tensors["keys"].T))
    return zero_shot + search.chosen["alpha"] * affinity @ values


def ece_of(logs: Array, labels: Array) -> float:
    confidence, right = np.exp(logs.max(axis=1)), logs.argmax(axis=1) == labels
    bins = np.minimum(np.ceil(confidence * 15), 15)
    return 100 * sum(abs((right - confidence)[bins == b].sum()) for b in range(1, 16)) / len(logs)


@pytest.mark.parametrize("trainer", ["ZeroshotCLIP", "LinearProbe", "SSText", "TipAdapter"])
def test_probabilities_are_those_of_the_formula(
    trainer: str, run_train: RunTrain, on_bank: Arguments, bank: Path, tmp_path: Path
) -> None:
    assert run_train(*on_bank(trainer, tmp_path)) == 0
    arrays = np.load(bank)
    labels, place = arrays["test_y"], np.arange(len(arrays["test_y"]))
    logs = log_softmax(logits_of_method(trainer, tmp_path, bank, arrays["test_x"]))
    rows, result = rows_of(tmp_path), result_of(tmp_path)
    assert [row["path"] for row in rows] == [f"bank.npz#test[{i}]" for i in place]
    assert [row["label"] for row in rows] == [NAMES[k] for k in labels]
    assert [row["predicted"] for row in rows] == [NAMES[k] for k in logs.argmax(axis=1)]
    zero_shot = normalised(arrays["test_x"]) @ normalised(arrays["text"]).T
    assert [row["zero_shot"] for row in rows] == [NAMES[k] for k in zero_shot.argmax(axis=1)]
    for name, expected in (
        ("label_probability", logs[place, labels]),
        ("predicted_probability", logs.max(axis=1)),
    ):
        found = [math.log(float(row[name])) for row in rows]
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert result.nll == pytest.approx(-logs[place, labels].mean(), rel=1e-5)
    assert result.ece == pytest.approx(ece_of(logs, labels), abs=1e-3)
    temperature = result.temperature
    assert temperature is not None
    if trainer == "ZeroshotCLIP":
        assert temperature.value is None and temperature.reason == (
            "ZeroshotCLIP uses no few-shot images"
        )
        return
    # fitted on the 24 validation images of the run, by another minimiser
    optimize = pytest.importorskip("scipy.optimize", reason="scipy is not installed")
    entries = json.loads((tmp_path / "few_shot_list.json").read_text())["val"]
    val = [int(path.split("[")[1][:-1]) for path, _, _ in entries]
    z = logits_of_method(trainer, tmp_path, bank, arrays["val_x"][val])
    of_label = np.arange(len(val)), arrays["val_y"][val]
    best = optimize.minimize_scalar(
        lambda log: -log_softmax(z / math.exp(log))[of_label].mean(),
        bounds=(math.log(1e-8), math.log(1e3)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert temperature.images == len(val) == 24
    assert temperature.value == pytest.approx(math.exp(best.x), rel=1e-4)
    scaled = log_softmax(
        logits_of_method(trainer, tmp_path, bank, arrays["test_x"]) / temperature.value
    )
    assert temperature.nll == pytest.approx(-scaled[place, labels].mean(), rel=1e-5)
    assert temperature.ece == pytest.approx(ece_of(scaled, labels), abs=1e-3)


@pytest.mark.parametrize("trainer", METHODS)
def test_every_method_says_the_same_in_both_files(
    trainer: str, run_train: RunTrain, on_bank: Arguments, tmp_path: Path
) -> None:
    assert run_train(*on_bank(trainer, tmp_path)) == 0
    rows, result = rows_of(tmp_path), result_of(tmp_path)
    assert len(rows) == result.total
    assert sum(row["label"] == row["predicted"] for row in rows) == result.correct
    by_zero_shot = sum(row["label"] == row["zero_shot"] for row in rows)
    assert result.zero_shot_accuracy == pytest.approx(100 * by_zero_shot / len(rows))
    nll = -sum(math.log(float(row["label_probability"])) for row in rows) / len(rows)
    assert result.nll == pytest.approx(nll, rel=1e-5)
    assert list(result.per_class) == NAMES
    for name, score in result.per_class.items():
        own = [row for row in rows if row["label"] == name]
        right = sum(row["predicted"] == name for row in own)
        assert (score.count, score.accuracy) == (len(own), pytest.approx(100 * right / len(own)))
    assert sum(score.count for score in result.per_class.values()) == result.total
    means = sum(score.accuracy * score.count for score in result.per_class.values())
    assert means / result.total == pytest.approx(result.accuracy)


@pytest.mark.parametrize("trainer", ["TipAdapterF", "VTCLIP", "CLIPAdapter", "CALIP", "ProKeR"])
def test_probabilities_are_the_softmax_of_the_logits(
    trainer: str, build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    built = build(on_bank(trainer, tmp_path))
    built.train()
    with torch.no_grad():
        z = torch.cat([built.logits(batch["features"]) for batch in built.data.loader("test")])
    logs = log_softmax(z.double().numpy())
    found = [math.log(float(row["predicted_probability"])) for row in rows_of(tmp_path)]
    np.testing.assert_allclose(found, logs.max(axis=1), atol=1e-6)


def test_coop_on_images(run_train: RunTrain, tmp_path: Path) -> None:
    short = ("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "2", "TRAINER.COOP.N_CTX", "2")
    assert run_train("--trainer", "CoOp", "--output-dir", str(tmp_path), *short) == 0
    rows, result = rows_of(tmp_path), result_of(tmp_path)
    assert len({row["path"] for row in rows}) == len(rows) == 719
    assert not Path(rows[0]["path"]).is_absolute()
    assert sum(row["label"] == row["predicted"] for row in rows) == result.correct
    assert result.temperature is not None and result.temperature.images == 10


def test_no_temperature_comes_from_test_labels(
    run_train: RunTrain, on_bank: Arguments, tmp_path: Path
) -> None:
    found = []
    for name in ("plain", "shuffled"):
        file = write_bank(tmp_path / f"{name}.npz", shuffled_test=name == "shuffled")
        assert run_train(*on_bank("CLIPAdapter", tmp_path / name, file=file)) == 0
        found.append(result_of(tmp_path / name).temperature)
    assert found[0] is not None and found[1] is not None
    assert found[0].value == found[1].value is not None
    assert found[0].nll != found[1].nll


def changed_bank(folder: Path, kind: str) -> Path:
    """A file of features without val, with test images in val, or with an easy val."""
    path = write_bank(folder / "bank.npz")
    arrays = dict(np.load(path))
    if kind == "absent":
        arrays = {name: array for name, array in arrays.items() if not name.startswith("val_")}
    elif kind == "shared":
        for end in ("x", "y", "spatial"):
            arrays[f"val_{end}"] = arrays[f"test_{end}"]
    elif kind == "easy":
        arrays["val_x"] = 5 * arrays["text"][arrays["val_y"]]
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("absent", ["DATASET.NUM_SHOTS", "-1"], "no validation images"),
        ("shared", [], "24 images of val in test too (row "),
        ("easy", [], "no best one: the validation images are all right"),
        ("", ["TEST.SPLIT", "val"], "the validation images are those tested"),
    ],
)
def test_without_validation_images_apart_there_is_a_reason(
    kind: str,
    options: list[str],
    reason: str,
    run_train: RunTrain,
    on_bank: Arguments,
    tmp_path: Path,
) -> None:
    file = changed_bank(tmp_path, kind)
    # zero-shot CLIP, though with the validation images of a method that uses shots
    options = [*options, "TRAINER.CLIPADAPTER.RATIO", "0"]
    assert run_train(*on_bank("CLIPAdapter", tmp_path / "run", *options, file=file)) == 0
    result = result_of(tmp_path / "run")
    found = result.temperature
    assert found is not None and found.reason.startswith(reason)
    assert (found.value, found.ece, found.nll) == (None, None, None)
    assert result.ece is not None and result.nll is not None
    log = (tmp_path / "run" / "log.txt").read_text()
    assert f"* no temperature: {reason}" in log


def test_validation_images_that_cannot_be_read_cost_the_temperature_alone(
    build: Build, on_bank: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vtclip.errors import UserError

    built = build(on_bank("SSText", tmp_path))

    def unreadable(*_: object) -> None:
        raise UserError("a.png: not an image.")

    monkeypatch.setattr(built, "scores", unreadable)
    built.train()
    found = result_of(tmp_path).temperature
    assert found is not None and (found.value, found.reason) == (None, "a.png: not an image.")


@pytest.mark.parametrize("trainer", ["TipAdapter", "CLIPAdapter", "ZeroshotCLIP"])
def test_an_evaluation_writes_the_same_and_keeps_the_temperature(
    trainer: str, run_train: RunTrain, on_bank: Arguments, tmp_path: Path
) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    assert run_train(*on_bank(trainer, run)) == 0
    evaluate = on_bank(trainer, again, "--eval-only", f"--model-dir={run}")
    assert run_train(*evaluate) == 0
    content = (run / PREDICTIONS_FILE).read_bytes()
    assert (again / PREDICTIONS_FILE).read_bytes() == content
    assert result_of(again).temperature == result_of(run).temperature
    # of the run, not of the images that an evaluation happens to have for validation
    raw = json.loads((run / RESULT_FILE).read_text())
    if raw["temperature"]["value"] is not None:
        raw["temperature"] |= {"value": 3.0, "images": 7}
        (run / RESULT_FILE).write_text(json.dumps(raw))
        assert run_train(*evaluate) == 0
        found = result_of(again).temperature
        assert found is not None and (found.value, found.images) == (3.0, 7)


def test_an_evaluation_of_an_old_run_fits_a_temperature(
    run_train: RunTrain, on_bank: Arguments, tmp_path: Path
) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    assert run_train(*on_bank("SSText", run)) == 0
    expected = result_of(run).temperature
    raw = json.loads((run / RESULT_FILE).read_text())
    for name in ("ece", "nll", "temperature"):
        del raw[name]
    (run / RESULT_FILE).write_text(json.dumps({**raw, "per_class": {}}))
    assert run_train(*on_bank("SSText", again, "--eval-only", f"--model-dir={run}")) == 0
    assert result_of(again).temperature == expected


def test_a_transfer_is_scaled_by_the_temperature_of_the_run(
    run_train: RunTrain, on_bank: Arguments, tmp_path: Path
) -> None:
    base, new = tmp_path / "base", tmp_path / "new"
    classes = "DATASET.SUBSAMPLE_CLASSES"
    assert run_train(*on_bank("CLIPAdapter", base, classes, "base")) == 0
    transfer = ("--eval-only", f"--model-dir={base}", classes, "new", "TRAINER.TRANSFER", "True")
    assert run_train(*on_bank("CLIPAdapter", new, *transfer)) == 0
    found, of_base = result_of(new).temperature, result_of(base).temperature
    assert found is not None and of_base is not None
    assert found.value == of_base.value is not None
    assert found.nll != of_base.nll
    assert list(result_of(new).per_class) == NAMES[3:]
    assert {row["label"] for row in rows_of(new)} == set(NAMES[3:])
    (base / RESULT_FILE).unlink()
    assert run_train(*on_bank("CLIPAdapter", tmp_path / "again", *transfer)) == 0
    unknown = result_of(tmp_path / "again").temperature
    assert unknown is not None and unknown.value is None
    assert unknown.reason.startswith("the validation images are of other classes")


def test_a_broken_run_keeps_the_predictions_of_an_earlier_one(
    run_train: RunTrain, on_bank: Arguments, tmp_path: Path
) -> None:
    assert run_train(*on_bank("CLIPAdapter", tmp_path)) == 0
    content = (tmp_path / PREDICTIONS_FILE).read_bytes()
    (tmp_path / RESULT_FILE).unlink()
    shutil.rmtree(tmp_path / "head")
    assert run_train(*on_bank("CLIPAdapter", tmp_path, "OPTIM.LR", "1e30")) == 2
    assert (tmp_path / PREDICTIONS_FILE).read_bytes() == content
    shutil.rmtree(tmp_path / "head", ignore_errors=True)
    assert run_train(*on_bank("CLIPAdapter", tmp_path)) == 0
    assert (tmp_path / PREDICTIONS_FILE).read_bytes() == content


def test_a_finished_run_keeps_its_predictions(
    run_train: RunTrain, on_bank: Arguments, tmp_path: Path
) -> None:
    assert run_train(*on_bank("SSText", tmp_path)) == 0
    before = (tmp_path / PREDICTIONS_FILE).stat()
    assert run_train(*on_bank("SSText", tmp_path)) == 0
    assert (tmp_path / PREDICTIONS_FILE).stat() == before


def test_without_a_folder_nothing_is_written(
    build: Build, on_bank: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(on_bank("ZeroshotCLIP", tmp_path / "run"))
    other = tmp_path / "here" / PREDICTIONS_FILE
    other.parent.mkdir()
    other.write_text("of another program")
    monkeypatch.chdir(other.parent)
    built.output_dir = ""
    built.before_train()
    built.test()
    assert [path.read_text() for path in tmp_path.rglob(PREDICTIONS_FILE)] == ["of another program"]
