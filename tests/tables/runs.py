"""Runs to tabulate, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vtclip.results import Result, write_result
from vtclip.tables.collect import Run


def result(**changes: Any) -> Result:
    shots, seed = changes.get("shots", 16), changes.get("seed", 1)
    accuracy, total = changes.get("accuracy", 90.0), changes.get("total", 100_000)
    values: dict[str, Any] = {
        "trainer": "VTCLIP",
        "dataset": "Digits",
        "shots": shots,
        "seed": seed,
        "split": "test",
        "classes": "all",
        "accuracy": accuracy,
        "macro_f1": 89.0,
        "correct": round(accuracy * total / 100),
        "total": total,
        "zero_shot_accuracy": 55.0,
        "backbone": "tiny",
        "backbone_fingerprint": "0123456789abcdef",
        "templates": ["a photo of the number {}."],
        "list_digest": {"train": f"{shots}-{seed}", "val": f"v{shots}-{seed}"} if shots else {},
        "comparable": True,
        "selected_on": "last epoch" if shots else "nothing to select",
        "search": None,
        "trainable_parameters": 1_580_032 if shots else 0,
        "epochs": 50,
        "config_digest": f"{changes.get('trainer', 'VTCLIP')}-{shots}",
        "device": "cpu",
        "seconds": {"total": 12.0},
        "peak_memory_mib": 400.0,
        "versions": {},
        "settings": {"OPTIM.LR": 0.002},
        "dataset_root": "/data",
    }
    return Result(**{**values, **changes})


def run(folder: str = "run", **changes: Any) -> Run:
    return Run(Path(folder), result(**changes))


def write_runs(root: Path, accuracies: list[float], **changes: Any) -> Path:
    """Write a run a seed (from 1) with these accuracies below `root`, and return their folder."""
    made = result(**changes)
    folder = root / made.dataset / made.trainer / f"{made.backbone}_{made.shots}shots"
    for seed, accuracy in enumerate(accuracies, start=1):
        written = result(**{"seed": seed, **changes, "accuracy": accuracy})
        write_result(folder / f"seed{seed}", written)
    return folder


def log_text(accuracy: float, macro_f1: float = 80.0, finished: bool = True) -> str:
    """A training log as Dassl writes it, with a validation result before the end of training."""
    lines = [
        "epoch [1/2] batch [5/5] time 0.1 (0.1) data 0.0 (0.0) loss 1.0 (1.0) lr 1e-3 eta 0:00:01",
        "Evaluate on the *val* set",
        "=> result",
        "* total: 40",
        "* accuracy: 11.1%",
        "* macro_f1: 10.0%",
    ]
    if finished:
        lines += [
            "Finish training",
            "Deploy the last-epoch model",
            *lines_of_a_test(accuracy, macro_f1),
        ]
        lines += ["Elapsed: 0:01:23"]
    return "\n".join(lines) + "\n"


def lines_of_a_test(accuracy: float, macro_f1: float) -> list[str]:
    return [
        "Evaluate on the *test* set",
        "=> result",
        "* total: 3,669",
        "* correct: 3,149",
        f"* accuracy: {accuracy:.1f}%",
        f"* error: {100 - accuracy:.1f}%",
        f"* macro_f1: {macro_f1:.1f}%",
    ]


def write_log(folder: Path, text: str, name: str = "log.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name
