"""The authors' programs: how each is started, what its lines tell, and our commands beside it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.authors.cases import Case

LAUNCH = Path(__file__).with_name("launch.py")
EPOCHS, VIEWS = "epochs", "views"
Parts = dict[str, float]


@dataclass(frozen=True)
class Row:
    """A method that a program runs.

    Attributes:
        trainer: ours.
        accuracy: pattern of the line that ends with the accuracy, in percent.
        encodes: whether the program encodes images anew in every epoch.
        epochs: of the whole training.
        without: parts of the program's time that are another method's.
    """

    trainer: str
    accuracy: str
    encodes: bool = False
    epochs: int = 1
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """A program of other authors.

    Attributes:
        name: for the table.
        repositories: names of its checkouts; the first is that of `program`, all are needed.
        program: its file.
        arguments: of its command line; writes its configuration into the working folder.
        marks: (part, start of a line that begins it); a part that is met again has a prime.
        rows: the methods that it runs.
        weights: whether it would download weights by name.
        listed: whether it would read ImageNet.
        stand_ins: modules that it imports and can do without here.
        trainer: a file beside `program` that holds the trainer, in another checkout.
    """

    name: str
    repositories: tuple[str, ...]
    program: str
    arguments: Callable[[Path, Case, Path], list[str]]
    marks: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    weights: bool = False
    listed: bool = False
    trainer: str | None = None
    stand_ins: tuple[str, ...] = ()

    def command(self, code: Path, case: Case, folder: Path) -> list[str]:
        """Write the specification of a start into a working folder, and return its command."""
        checkouts = [code / name for name in self.repositories]
        images = [
            (str(case.root / "caltech-101" / "101_ObjectCategories" / path), label)
            for path, label, _ in case.rows("test")
        ]
        specification: dict[str, Any] = {
            "folders": [str(path) for path in checkouts],
            "program": str(checkouts[0] / self.program),
            "arguments": self.arguments(code, case, folder),
            "image_size": case.image_size,
            "width": case.width,
            "weights": str(case.weights) if self.weights else None,
            "images": images if self.listed else [],
            "classes": case.classes,
            "stand_ins": self.stand_ins,
            "trainer": str(code / self.trainer) if self.trainer else None,
        }
        path = folder / "start.json"
        path.write_text(json.dumps(specification))
        return [sys.executable, "-u", str(LAUNCH), str(path)]


def _write_yaml(path: Path, values: dict[str, Any]) -> str:
    # JSON is YAML
    path.write_text(json.dumps(values))
    return str(path)


def _tip_adapter(_: Path, case: Case, folder: Path) -> list[str]:
    """Return the authors' settings for Caltech101, with fewer views and epochs where asked."""
    settings = {
        "root_path": str(case.root),
        "dataset": "caltech101",
        "backbone": str(case.weights),
        "shots": case.shots,
        "load_cache": False,
        "load_pre_feat": False,
        "search_hp": True,
        "search_scale": [12, 5],
        "search_step": [200, 20],
        "init_beta": 1,
        "init_alpha": 3,
        "lr": 0.001,
        "augment_epoch": case.measured_views or 10,
        "train_epoch": case.measured_epochs or 20,
    }
    return ["--config", _write_yaml(folder / "settings.yaml", settings)]


def _calip(_: Path, case: Case, folder: Path) -> list[str]:
    """Return the authors' settings."""
    # the name is that of a folder of its cache as well
    (folder / "weights.pt").symlink_to(case.weights)
    settings = {
        "data_root": "",
        "dataset": "imagenet",
        "backbone": "weights.pt",
        "load_cache": False,
        "search": True,
        "beta2": 2.0,
        "beta3": 0.1,
    }
    return ["--config", _write_yaml(folder / "settings.yaml", settings)]


def _lp_plus_plus(code: Path, case: Case, _: Path) -> list[str]:
    """Return the authors' settings for one list of few-shot images."""
    configs = code / "FewShot-CLIP-Strong-Baseline" / "configs"
    return [
        *("--base_config", str(configs / "base.yaml")),
        *("--dataset_config", str(configs / "caltech101.yaml"), "--opts"),
        *("root_path", str(case.root), "backbone", str(case.weights), "shots", str(case.shots)),
        *("tasks", "1", "finetune", "False"),
    ]


def _on_dassl(trainer: str, epochs: int) -> Callable[[Path, Case, Path], list[str]]:
    """Return the arguments of CoOp's train.py."""

    def arguments(code: Path, case: Case, folder: Path) -> list[str]:
        configs = code / "CoOp" / "configs"
        size = case.image_size
        return [
            *("--root", str(case.root), "--seed", "1", "--trainer", trainer),
            *("--output-dir", str(folder / "output")),
            *("--config-file", str(configs / "trainers" / "CoOp" / "rn50.yaml")),
            *("--dataset-config-file", str(configs / "datasets" / "caltech101.yaml")),
            *("DATASET.NUM_SHOTS", str(case.shots), "TRAINER.COOP.PREC", "fp32"),
            *("INPUT.SIZE", f"({size}, {size})", "USE_CUDA", "False"),
            *("OPTIM.MAX_EPOCH", str(case.measured_epochs or epochs)),
        ]

    return arguments


TIP = Program(
    "Tip-Adapter",
    ("Tip-Adapter",),
    "main.py",
    _tip_adapter,
    (
        (VIEWS, "Augment Epoch"),
        ("images", "Loading visual features"),
        ("search", "-------- Searching"),
        ("evaluation", "-------- Evaluating"),
        (EPOCHS, "Train Epoch"),
        ("evaluation", "**** After fine-tuning"),
    ),
    (
        Row(
            "TipAdapter",
            r"Tip-Adapter's test accuracy: ([\d.]+?)\.? ",
            without=(EPOCHS, "search'", "evaluation'"),
        ),
        Row(
            "TipAdapterF",
            r"Tip-Adapter-F's test accuracy: ([\d.]+?)\.? ",
            encodes=True,
            epochs=20,
            without=("search",),
        ),
    ),
)
CALIP = Program(
    "CALIP",
    ("CALIP",),
    "run_imagenet.py",
    _calip,
    (("search", "Starting searching"),),
    (Row("CALIP", r"Final Acc: ([\d.]+)"),),
    listed=True,
)
LP_PLUS_PLUS = Program(
    "LP++",
    ("FewShot-CLIP-Strong-Baseline",),
    "main.py",
    _lp_plus_plus,
    (("training", "Running LP++"),),
    (Row("LPPlusPlus", r"Final Accuracy on task 1: (?:np\.float64\()?([\d.]+)"),),
    stand_ins=("pandas",),
)
COOP = Program(
    "CoOp",
    ("CoOp", "Dassl.pytorch"),
    "train.py",
    _on_dassl("CoOp", 200),
    ((EPOCHS, "Initialize tensorboard"), ("evaluation", "Finish training")),
    (
        Row(
            "CoOp",
            r"\* accuracy: ([\d.]+)%",
            encodes=True,
            epochs=200,
        ),
    ),
    weights=True,
    stand_ins=("pandas", "wilds"),
)
CLIP_ADAPTER = Program(
    "CLIP-Adapter",
    ("CoOp", "Dassl.pytorch", "CLIP-Adapter"),
    "train.py",
    _on_dassl("CLIP_Adapter", 200),
    ((EPOCHS, "Initialize tensorboard"), ("evaluation", "Finish training")),
    (
        Row(
            "CLIPAdapter",
            r"\* accuracy: ([\d.]+)%",
            encodes=True,
            epochs=200,
        ),
    ),
    weights=True,
    stand_ins=("pandas", "wilds"),
    trainer="CLIP-Adapter/clip_adapter.py",
)
PROGRAMS = (TIP, CALIP, LP_PLUS_PLUS, CLIP_ADAPTER, COOP)


def parts_of(program: Program, lines: list[tuple[float, str]], seconds: float) -> Parts:
    """Return the seconds of the parts of a program, by when its lines came.

    Args:
        lines: (seconds from the start, line).
        seconds: of the whole program.

    Returns:
        Seconds by part, the first one "start"; a part that is begun again after the epochs has a
        prime.
    """
    found: Parts = {}
    part, since, trained = "start", 0.0, False
    for at, line in [*lines, (seconds, "")]:
        begun = next((name for name, start in program.marks if line.startswith(start)), None)
        if begun is None and at != seconds:
            continue
        found[part] = found.get(part, 0.0) + at - since
        since = at
        trained = trained or begun == EPOCHS
        part = f"{begun}'" if trained and begun != EPOCHS else str(begun)
    return found


def accuracy_of(row: Row, lines: list[tuple[float, str]]) -> float:
    """Return the last accuracy that a program prints for a method.

    Raises:
        SystemExit: it prints none.
    """
    found = [match for _, line in lines if (match := re.search(row.accuracy, line))]
    if not found:
        raise SystemExit(f"{row.trainer}: the authors' program printed no accuracy.")
    return float(found[-1][1])


def scaled_seconds(parts: Parts, row: Row, case: Case) -> float:
    """Return the seconds of a method with all its views and epochs."""
    factor = {
        EPOCHS: row.epochs / (case.measured_epochs or row.epochs),
        VIEWS: 10 / (case.measured_views or 10),
    }
    return sum(
        seconds * factor.get(part, 1.0)
        for part, seconds in parts.items()
        if part not in row.without
    )
