"""What a method says of each test image, and predictions.csv, the file of it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vtclip.calibration import expected_calibration_error, log_probabilities
from vtclip.errors import UserError
from vtclip.files import atomic_path, require_file
from vtclip.results import ClassScore

PREDICTIONS_FILE = "predictions.csv"
COLUMNS = (
    "path",
    "label",
    "predicted",
    "label_probability",
    "predicted_probability",
    "zero_shot",
)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of N images in the order of their list, on the CPU; no logits are kept.

    Attributes:
        labels: [N], int64.
        predicted: [N], int64, the class of the largest logit.
        zero_shot: [N], int64, the class that zero-shot CLIP predicts.
        logs: [N, 2], float64, see :func:`vtclip.calibration.log_probabilities`.
        scaled_logs: the same at a temperature fitted on validation, None without one.
    """

    labels: Tensor
    predicted: Tensor
    zero_shot: Tensor
    logs: Tensor
    scaled_logs: Tensor | None = None

    @property
    def zero_shot_accuracy(self) -> float:
        """Of zero-shot CLIP, in percent."""
        return 100.0 * int((self.zero_shot == self.labels).sum()) / len(self.labels)

    def calibration(self) -> tuple[float, float]:
        """Return the ECE in percent and the NLL in nats."""
        return self._calibration(self.logs)

    def scaled_calibration(self) -> tuple[float, float] | None:
        """Return both at the temperature, None without one."""
        return None if self.scaled_logs is None else self._calibration(self.scaled_logs)

    def _calibration(self, logs: Tensor) -> tuple[float, float]:
        of_label, of_predicted = logs.unbind(dim=1)
        correct = self.predicted == self.labels
        ece = expected_calibration_error(of_predicted.exp(), correct)
        return 100.0 * ece, -float(of_label.mean())

    def per_class(self, names: Sequence[str]) -> dict[str, ClassScore]:
        """Return the score of each class that has images, by name.

        Args:
            names: K, one per class (see :func:`class_keys`).
        """
        counts = self.labels.bincount(minlength=len(names)).tolist()
        hits = self.labels[self.predicted == self.labels].bincount(minlength=len(names)).tolist()
        return {
            name: ClassScore(100.0 * correct / count, count)
            for name, correct, count in zip(names, hits, counts, strict=True)
            if count
        }


class PredictionLog:
    """Gathers the predictions of batches, without keeping a tensor of any.

    Numbers go into lists: small tensors kept from each batch would lie between the large ones that
    are freed, and the memory of those could not be used again.

    Args:
        temperature: for :attr:`Predictions.scaled_logs`.
    """

    def __init__(self, temperature: float | None = None) -> None:
        self._temperature = temperature
        self._classes: tuple[list[int], ...] = ([], [], [])
        self._logs: list[list[float]] = []
        self._scaled_logs: list[list[float]] = []

    def add(self, logits: Tensor, labels: Tensor, zero_shot_logits: Tensor) -> None:
        """Take in a batch.

        Args:
            logits: [B, K].
            labels: [B], int64.
            zero_shot_logits: [B, K], at any scale.
        """
        classes = (labels, logits.argmax(dim=1), zero_shot_logits.argmax(dim=1))
        for gathered, of_batch in zip(self._classes, classes, strict=True):
            gathered += of_batch.tolist()
        self._logs += log_probabilities(logits, labels).tolist()
        if self._temperature is not None:
            self._scaled_logs += log_probabilities(logits, labels, self._temperature).tolist()

    def predictions(self) -> Predictions:
        """Return those of all batches, at least one."""
        labels, predicted, zero_shot = (torch.tensor(classes) for classes in self._classes)
        return Predictions(
            labels,
            predicted,
            zero_shot,
            torch.tensor(self._logs, dtype=torch.float64),
            torch.tensor(self._scaled_logs, dtype=torch.float64) if self._scaled_logs else None,
        )


def class_keys(classnames: Sequence[str]) -> list[str]:
    """Return a name for each class by which files can hold it: all different, in UTF-8.

    >>> class_keys(["crane", "heron", "crane"])
    ['crane (class 0)', 'heron', 'crane (class 2)']
    """
    names = [
        name.replace("\0", "\\0").encode(errors="backslashreplace").decode() for name in classnames
    ]
    while len(counts := Counter(names)) < len(names):
        names = [f"{n} (class {k})" if counts[n] > 1 else n for k, n in enumerate(names)]
    return names


def write_predictions(
    folder: Path, predictions: Predictions, paths: Sequence[str], names: Sequence[str]
) -> Path:
    """Write `folder`/predictions.csv, atomically, and return its path.

    Probabilities have seven significant digits, so that the logarithm of a small one is not lost.

    Args:
        folder: of the run.
        predictions: of N images.
        paths: N, in their order.
        names: K, one per class (see :func:`class_keys`).

    Raises:
        UserError: the file cannot be written.
    """
    path = folder / PREDICTIONS_FILE
    labels, predicted, zero_shot = (
        [names[k] for k in classes.tolist()]
        for classes in (predictions.labels, predictions.predicted, predictions.zero_shot)
    )
    of_label, of_predicted = (
        [f"{value:.6e}" for value in values] for values in predictions.logs.exp().T.tolist()
    )
    columns = (paths, labels, predicted, of_label, of_predicted, zero_shot)
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        # the line ends of RFC 4180: with others, Python before 3.13 leaves a \r in a name unquoted
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(zip(*columns, strict=True))
    return path


class Judged(NamedTuple):
    """A line of predictions.csv; the fields are its columns."""

    path: str
    label: str
    predicted: str
    label_probability: float
    predicted_probability: float
    zero_shot: str

    @property
    def won(self) -> bool:
        """Whether the method is right where zero-shot CLIP is wrong."""
        return self.predicted == self.label != self.zero_shot

    @property
    def lost(self) -> bool:
        """Whether the method is wrong where zero-shot CLIP is right."""
        return self.zero_shot == self.label != self.predicted


def read_predictions(folder: Path) -> list[Judged]:
    """Read `folder`/predictions.csv.

    Raises:
        UserError: it is missing, unreadable, or not such a file.
    """
    path = folder / PREDICTIONS_FILE
    damaged = UserError(f"{path}: not the predictions of a run; test the run again.")
    try:
        require_file(path)
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except FileNotFoundError:
        raise UserError(
            f"{path}: missing; a run of an earlier version has none, so train it again."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error):
        raise damaged from None
    if tuple(header) != COLUMNS or any(len(line) != len(COLUMNS) for line in lines):
        raise damaged
    try:
        judged = [
            Judged(name, label, predicted, float(one), float(other), zero_shot)
            for name, label, predicted, one, other, zero_shot in lines
        ]
    except ValueError:
        raise damaged from None
    # NaN is in no range either
    if not all(0 <= p <= 1 for j in judged for p in (j.label_probability, j.predicted_probability)):
        raise damaged
    return judged
