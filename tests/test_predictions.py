"""Predictions per image: the values, the scores per class, and predictions.csv."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vtclip.errors import UserError
from vtclip.predictions import (
    COLUMNS,
    PREDICTIONS_FILE,
    PredictionLog,
    Predictions,
    class_keys,
    write_predictions,
)

EVIL = [
    "comma, and more",
    'says "no"',
    "two\nlines",
    "carriage\rreturn",
    "both\r\nof them",
    "naïve 猫 🐈",
    "",
    " spaces ",
    "=SUM(A1)",
    "'",
    "tab\there",
    "#",
]


def drawn(n: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [n, k], labels [n] and zero-shot's logits [n, k]."""
    draw = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(n, k, generator=draw)
    return logits, torch.randint(k, (n,), generator=draw), torch.randn(n, k, generator=draw)


def predicted(logits: Tensor, labels: Tensor, zero_shot_logits: Tensor) -> Predictions:
    log = PredictionLog()
    log.add(logits, labels, zero_shot_logits)
    return log.predictions()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_batches_give_the_values_of_the_formula() -> None:
    logits, labels, zero_shot = drawn(50, 5)
    log = PredictionLog(temperature=2.5)
    for rows in (slice(0, 20), slice(20, 49), slice(49, 50)):
        log.add(logits[rows], labels[rows], zero_shot[rows])
    found = log.predictions()
    z = logits.double().numpy()
    probabilities = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    place = np.arange(50)
    assert found.predicted.tolist() == z.argmax(axis=1).tolist()
    assert found.zero_shot.tolist() == zero_shot.argmax(1).tolist()
    np.testing.assert_allclose(found.logs[:, 0].exp(), probabilities[place, labels], rtol=1e-12)
    np.testing.assert_allclose(found.logs[:, 1].exp(), probabilities.max(axis=1), rtol=1e-12)
    ece, nll = found.calibration()
    assert nll == pytest.approx(-np.log(probabilities[place, labels]).mean(), rel=1e-12)
    confidence, right = probabilities.max(axis=1), z.argmax(axis=1) == labels.numpy()
    bins = np.minimum(np.ceil(confidence * 15), 15)
    gaps = [abs((right[bins == b] - confidence[bins == b]).sum()) for b in range(1, 16)]
    assert ece == pytest.approx(100 * sum(gaps) / 50, rel=1e-12)
    at_half = np.exp(z / 2.5) / np.exp(z / 2.5).sum(axis=1, keepdims=True)
    scaled = found.scaled_calibration()
    assert scaled is not None
    assert scaled[1] == pytest.approx(-np.log(at_half[place, labels]).mean(), rel=1e-12)


def test_without_a_temperature_nothing_is_scaled() -> None:
    assert predicted(*drawn(4, 3)).scaled_calibration() is None


def test_classes_add_up_to_all_images() -> None:
    logits, labels, zero_shot = drawn(90, 6)
    labels[labels == 4] = 3
    found = predicted(logits, labels, zero_shot)
    scores = found.per_class(list("abcdef"))
    assert list(scores) == list("abcdf")  # none of class 4 is tested
    assert sum(score.count for score in scores.values()) == 90
    right = (logits.argmax(1) == labels).int()
    for label, name in enumerate("abcdef"):
        if name in scores:
            of_class = labels == label
            assert scores[name].count == int(of_class.sum())
            expected = 100 * float(right[of_class].sum()) / int(of_class.sum())
            assert scores[name].accuracy == pytest.approx(expected)
    hits = sum(round(score.accuracy * score.count / 100) for score in scores.values())
    assert hits == int(right.sum())


def test_the_file_holds_any_name(tmp_path: Path) -> None:
    logits, labels, zero_shot = drawn(40, len(EVIL))
    found = predicted(logits, labels, zero_shot)
    paths = [f"folder, {i}/im\n{EVIL[i % len(EVIL)]}.png" for i in range(40)]
    path = write_predictions(tmp_path, found, paths, EVIL)
    assert path == tmp_path / PREDICTIONS_FILE
    rows = rows_of(path)
    assert tuple(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == paths
    assert [row["label"] for row in rows] == [EVIL[k] for k in labels]
    assert [row["predicted"] for row in rows] == [EVIL[k] for k in logits.argmax(1)]
    assert [row["zero_shot"] for row in rows] == [EVIL[k] for k in zero_shot.argmax(1)]
    for column, name in enumerate(("label_probability", "predicted_probability")):
        values = [float(row[name]) for row in rows]
        np.testing.assert_allclose(values, found.logs[:, column].exp(), rtol=1e-6)


def test_a_small_probability_is_not_zero(tmp_path: Path) -> None:
    logits = torch.tensor([[0.0, 100.0]])
    found = predicted(logits, torch.tensor([0]), logits)
    (row,) = rows_of(write_predictions(tmp_path, found, ["a"], ["x", "y"]))
    assert row["label_probability"] == "3.720076e-44"  # exp(-100)
    assert row["predicted_probability"] == "1.000000e+00"


def test_the_same_predictions_are_the_same_bytes_and_replace_the_old(tmp_path: Path) -> None:
    first, second = (predicted(*drawn(30, 3, seed)) for seed in (1, 2))
    paths = [str(i) for i in range(30)]
    contents = []
    for found in (first, second, first):
        contents.append(write_predictions(tmp_path, found, paths, list("abc")).read_bytes())
    assert contents[0] == contents[2] != contents[1]
    assert [path.name for path in tmp_path.iterdir()] == [PREDICTIONS_FILE]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = predicted(*drawn(2, 3))
    with pytest.raises(UserError, match=r"predictions.csv: cannot be written"):
        write_predictions(tmp_path / "file", found, ["a", "b"], list("xyz"))


def test_paths_and_images_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_predictions(tmp_path, predicted(*drawn(2, 3)), ["a"], list("xyz"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "b", "a"], ["a (class 0)", "b", "a (class 2)"]),
        (
            ["a (class 1)", "a", "a"],
            ["a (class 1) (class 0)", "a (class 1) (class 1)", "a (class 2)"],
        ),
        (["nul\0", "\udcff", "é"], ["nul\\0", "\\udcff", "é"]),
        (["nul\0", "nul\\0"], ["nul\\0 (class 0)", "nul\\0 (class 1)"]),
    ],
)
def test_names_of_classes_are_told_apart(names: list[str], keys: list[str]) -> None:
    assert class_keys(names) == keys
