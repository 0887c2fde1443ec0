"""The result of a run: one JSON file with its values and where they came from.

`python -m vtclip.results DIR` exits with 0 where DIR holds the result of a finished run, else 1.
"""

from __future__ import annotations

import reprlib
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vtclip.config.keys import RECIPE
from vtclip.errors import UserError
from vtclip.expectations import (
    AMOUNT,
    LARGEST_INTEGER,
    LINE,
    NAME,
    NATS,
    NUMBER,
    OBJECT_OR_NULL,
    PERCENTAGE,
    SETTING,
    TEXT,
    TRUE_OR_FALSE,
    Expectation,
    list_of,
    mapping_of,
    number,
    one_of,
    or_null,
    record_of,
    whole_number,
)
from vtclip.files import read_json, write_json

RESULT_FILE = "result.json"
SCHEMA = 2
# percentage points between the accuracy and correct/total; tables show 0.01
ACCURACY_TOLERANCE = 0.01

SELECTED_LAST = "last epoch"
SELECTED_VAL = "val"
SELECTED_NOTHING = "nothing to select"


@dataclass(frozen=True)
class Search:
    """A search of hyper-parameters on a selection split.

    Attributes:
        split: the split searched on, always "val".
        grid: the values tried, by name.
        chosen: the values taken, by name.
        accuracy: of the values taken, on that split, in percent.
        tied: how many points of the grid were the most accurate there; None in results of earlier
            versions.
    """

    split: str
    grid: dict[str, list[float]]
    chosen: dict[str, float]
    accuracy: float
    tied: int | None = None


@dataclass(frozen=True)
class ClassScore:
    """The score of one class.

    Attributes:
        accuracy: the share of its images that are classified correctly, in percent.
        count: the number of its images.
    """

    accuracy: float
    count: int


@dataclass(frozen=True)
class Temperature:
    """A temperature of the logits, fitted on validation images, and what it does to the test.

    Attributes:
        value: T, or None where none was fitted.
        images: the number of validation images that it was fitted on.
        ece: of softmax(logits / T), as :attr:`Result.ece`.
        nll: of softmax(logits / T), as :attr:`Result.nll`.
        reason: why there is no temperature, "" where there is one.
    """

    value: float | None = None
    images: int = 0
    ece: float | None = None
    nll: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Result:
    """The result of a run, with everything that decides whether runs may share a table.

    Attributes:
        accuracy, macro_f1: in percent, full precision.
        correct, total: numbers of images.
        zero_shot_accuracy: of the same text features on the same images, in percent.
        seed: below 0 for a run without one, which cannot be repeated.
        shots: images per class; -1 means the whole training set, 0 that none was used.
        split: the split evaluated.
        classes: "all", "base" or "new" (CoOp's SUBSAMPLE_CLASSES).
        backbone, backbone_fingerprint: its name, and the digest of its weights.
        templates: the prompt templates.
        list_digest: digests of the few-shot lists, by "train" and "val" ("" where there is none).
        comparable: False where the split is not the official one.
        selected_on: which split selected the epoch or the hyper-parameters.
        search: None where nothing was searched.
        trainable_parameters: how many numbers were trained.
        epochs: how many were run.
        config_digest: of `settings`; the seeds and shots of one experiment share it.
        settings: the configuration that decides the result, by dotted key, without folders, seed
            and shots (see :func:`vtclip.protocol.run_settings`).
        dataset_root: the data root, absolute.
        seconds: by part, among them "total".
        peak_memory_mib: highest resident memory of the process, or of the CUDA device.
        versions: of the packages that results depend on.
        overlap: how many "val" and how many "train" images are among those of the test.
        evaluated: the folder of the checkpoint for an evaluation without training, else "".
        per_class: by class name (see :func:`vtclip.predictions.class_keys`), without classes that
            have no images; empty in results of earlier versions, as the next three are None.
        ece: expected calibration error of softmax(logits) in percent, with 15 bins.
        nll: mean negative log-likelihood of the labels under softmax(logits), in nats.
        temperature: the same after temperature scaling.
    """

    trainer: str
    dataset: str
    shots: int
    seed: int
    split: str
    classes: str
    accuracy: float
    macro_f1: float
    correct: int
    total: int
    zero_shot_accuracy: float
    backbone: str
    backbone_fingerprint: str
    templates: list[str]
    list_digest: dict[str, str]
    comparable: bool
    selected_on: str
    search: Search | None
    trainable_parameters: int
    epochs: int
    config_digest: str
    device: str
    seconds: dict[str, float]
    peak_memory_mib: float
    versions: dict[str, str]
    settings: dict[str, Any]
    dataset_root: str
    evaluated: str = ""
    per_class: dict[str, ClassScore] = field(default_factory=dict)
    overlap: dict[str, int] = field(default_factory=dict)
    ece: float | None = None
    nll: float | None = None
    temperature: Temperature | None = None
    schema: int = SCHEMA

    @property
    def method(self) -> str:
        """The trainer, and in brackets what is not the published recipe.

        That is the name of another one, a shortlist, "fixed" for no search where it has one.
        """
        recipe = self.settings.get("TRAINER.RECIPE", "")
        notes = [recipe] if isinstance(recipe, str) and RECIPE.fullmatch(recipe) else []
        node = f"TRAINER.{self.trainer.upper()}"
        # an approximation, so not in one row with the method
        count = self.settings.get(f"{node}.SHORTLIST", 0)
        notes += [f"shortlist {count}"] if isinstance(count, int) and count > 0 else []
        notes += ["fixed"] if self.settings.get(f"{node}.SEARCH") is False else []
        return f"{self.trainer} ({', '.join(notes)})" if notes else self.trainer


class NotAResult(UserError):
    """The file is not a result of vtclip; another program may have written it."""


class UnreadableResult(NotAResult):
    """The file cannot be read as JSON, so that nobody can tell what it was."""


# one line per field of Result, and below of Search
EXPECTED: dict[str, Expectation] = {
    "trainer": NAME,
    "dataset": NAME,
    "shots": whole_number(-1),
    "seed": whole_number(-LARGEST_INTEGER),
    "split": one_of("train", "val", "test"),
    "classes": one_of("all", "base", "new"),
    "accuracy": PERCENTAGE,
    "macro_f1": PERCENTAGE,
    "correct": whole_number(0),
    "total": whole_number(1),
    "zero_shot_accuracy": PERCENTAGE,
    "backbone": NAME,
    "backbone_fingerprint": LINE,
    "templates": list_of(TEXT),
    "list_digest": mapping_of(LINE),
    "comparable": TRUE_OR_FALSE,
    "selected_on": NAME,
    "search": OBJECT_OR_NULL,
    "trainable_parameters": whole_number(0),
    "epochs": whole_number(0),
    "config_digest": LINE,
    "device": NAME,
    "seconds": mapping_of(AMOUNT),
    "peak_memory_mib": AMOUNT,
    "versions": mapping_of(TEXT),
    "settings": mapping_of(SETTING),
    "dataset_root": TEXT,
    "evaluated": TEXT,
    "per_class": mapping_of(record_of({"accuracy": PERCENTAGE, "count": whole_number(1)})),
    "overlap": mapping_of(whole_number(0)),
    "ece": or_null(PERCENTAGE),
    "nll": or_null(NATS),
    "temperature": or_null(
        record_of(
            {
                "value": or_null(number(1e-15, 1e15, "a number between 1e-15 and 1e15")),
                "images": whole_number(0),
                "ece": or_null(PERCENTAGE),
                "nll": or_null(NATS),
                "reason": TEXT,
            }
        )
    ),
    "schema": whole_number(0),
}
# what earlier versions did not write
ADDED = {"ece": None, "nll": None, "temperature": None}
ADDED_TO_SEARCH = {"tied": None}
EXPECTED_OF_SEARCH: dict[str, Expectation] = {
    "split": NAME,
    "grid": mapping_of(list_of(NUMBER)),
    "chosen": mapping_of(NUMBER),
    "accuracy": PERCENTAGE,
    "tied": or_null(whole_number(1)),
}


def write_result(folder: Path, result: Result) -> Path:
    """Write `result` as `folder`/result.json, atomically, and return its path."""
    path = folder / RESULT_FILE
    write_json(path, asdict(result))
    return path


def read_result(path: Path) -> Result:
    """Read a result file and check every value.

    Raises:
        UnreadableResult: the file is missing, cannot be read or is not JSON.
        NotAResult: it is the file of another program.
        UserError: it is a result of another schema, or a value is missing or impossible.
    """
    try:
        raw: Any = read_json(path)
    except UserError as error:
        raise UnreadableResult(str(error)) from error
    if not _is_ours(raw):
        raise NotAResult(f"{path}: not a result of vtclip, but a file of another program.")
    if raw.get("schema", SCHEMA) != SCHEMA:
        found = reprlib.repr(raw["schema"])
        raise UserError(
            f"{path}: a result of schema {found}, not of schema {SCHEMA}; run the seed again."
        )
    raw = ADDED | raw
    if isinstance(raw.get("search"), dict):
        raw["search"] = ADDED_TO_SEARCH | raw["search"]
    problems = _problems(raw, EXPECTED) or _contradictions(raw)
    if problems:
        more = f" and {len(problems) - 4} more problems" if len(problems) > 4 else ""
        raise UserError(f"{path}: {', '.join(problems[:4])}{more}; run the seed again.")
    values = {name: raw[name] for name in EXPECTED}
    if values["search"] is not None:
        values["search"] = Search(**{name: raw["search"][name] for name in EXPECTED_OF_SEARCH})
    if values["temperature"] is not None:
        values["temperature"] = Temperature(**values["temperature"])
    scores = values["per_class"].items()
    values["per_class"] = {name: ClassScore(**score) for name, score in scores}
    return Result(**values)


def _is_ours(raw: Any) -> bool:
    """Tell whether `raw` has a schema number with fields of ours, or most fields of a result."""
    if not isinstance(raw, dict):
        return False
    known = raw.keys() & EXPECTED.keys()
    numbered = type(raw.get("schema")) is int and (len(known) > 1 or len(raw) == 1)
    return numbered or 2 * len(known) > len(EXPECTED)


def _problems(raw: dict[str, Any], expected: dict[str, Expectation], of: str = "") -> list[str]:
    """Describe each field of `raw` that is missing or not as expected."""
    found = []
    for name, expectation in expected.items():
        if name not in raw:
            found.append(f"lacks {of}{name}")
        elif name == "search" and isinstance(raw[name], dict):
            found += _problems(raw[name], EXPECTED_OF_SEARCH, "search.")
        elif not expectation.holds(raw[name]):
            found.append(f"{of}{name} is {reprlib.repr(raw[name])}, not {expectation.words}")
    return found


def _contradictions(raw: dict[str, Any]) -> list[str]:
    """Describe what is impossible between fields that are right by themselves."""
    accuracy, correct, total = raw["accuracy"], raw["correct"], raw["total"]
    if correct > total or abs(accuracy - 100.0 * correct / total) > ACCURACY_TOLERANCE:
        return [
            f"accuracy is {accuracy:.2f}%, but {correct} correct of {total} images are "
            f"{100.0 * correct / total:.2f}%"
        ]
    scores = raw["per_class"].values()
    images = sum(score["count"] for score in scores)
    hits = sum(round(score["accuracy"] * score["count"] / 100) for score in scores)
    if scores and (hits, images) != (correct, total):
        return [
            f"per_class has {hits} correct of {images} images, but correct and total are "
            f"{correct} of {total}"
        ]
    return []


def is_complete(folder: Path) -> bool:
    """Tell whether `folder` holds the result of a finished run."""
    try:
        read_result(folder / RESULT_FILE)
    except UserError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(0 if len(sys.argv) == 2 and is_complete(Path(sys.argv[1])) else 1)
