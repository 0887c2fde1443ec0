"""The result of a run: one JSON file with its values and where they came from.

`python -m vtclip.results DIR` exits with 0 where DIR holds the result of a finished run, else 1.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from vtclip.errors import UserError
from vtclip.files import read_json, write_json

RESULT_FILE = "result.json"
PERCENTAGES = ("accuracy", "macro_f1", "zero_shot_accuracy")
SCHEMA = 2

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
        accuracy: the best accuracy on that split, in percent.
    """

    split: str
    grid: dict[str, list[float]]
    chosen: dict[str, float]
    accuracy: float


@dataclass(frozen=True)
class Result:
    """The result of a run, with everything that decides whether runs may share a table.

    Attributes:
        accuracy, macro_f1: in percent, full precision.
        correct, total: numbers of images.
        zero_shot_accuracy: of the same text features on the same images, in percent.
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
        evaluated: the folder of the checkpoint for an evaluation without training, else "".
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
    per_class: dict[str, float] = field(default_factory=dict)
    schema: int = SCHEMA


def write_result(folder: Path, result: Result) -> Path:
    """Write `result` as `folder`/result.json, atomically, and return its path."""
    path = folder / RESULT_FILE
    write_json(path, asdict(result))
    return path


def read_result(path: Path) -> Result:
    """Read a result file.

    Raises:
        UserError: it is missing, not JSON, of another schema, or a value is missing or impossible.
    """
    raw: Any = read_json(path)
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise UserError(f"{path}: not a result of schema {SCHEMA}; run the seed again.")
    problems = [problem for f in fields(Result) for problem in _problems(f.name, raw)]
    if problems:
        raise UserError(f"{path}: {', '.join(problems)}; run the seed again.")
    values = {f.name: raw[f.name] for f in fields(Result)}
    if values["search"] is not None:
        values["search"] = Search(**values["search"])
    return Result(**values)


def _problems(name: str, raw: dict[str, Any]) -> list[str]:
    """Name what is wrong with one value of a result file: nothing, or one thing."""
    if name not in raw:
        return [f"lacks {name}"]
    value = raw[name]
    if name in PERCENTAGES and not (
        isinstance(value, float | int) and math.isfinite(value) and 0 <= value <= 100
    ):
        return [f"{name} is {value!r}, not a percentage"]
    if name == "search" and value is not None and set(value) != {f.name for f in fields(Search)}:
        return ["search is of another form"]
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
