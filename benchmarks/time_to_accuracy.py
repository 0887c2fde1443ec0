"""The minutes of VT-CLIP at Caltech101's size, from an empty cache to its result.

    python -m benchmarks.time_to_accuracy --root DIR

16 shots, K 100, S 49. The recipe fast-wide on a backbone of RN50's size (D 1024) with random
weights, whose accuracy means nothing, with ten views of each image and with one; then that recipe,
a few epochs of it and the paper's on the lite bridge (D 1280, one view), whose accuracy is that on
all validation images, so that they can be compared. DIR is a data root with Caltech101. Every run
is whole and encodes for itself; test images are not read.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.end_to_end import write_random_weights
from benchmarks.machine import write_results
from benchmarks.schedules import SCHEDULES
from benchmarks.validated import validated
from vtclip.errors import run_command
from vtclip.plugins import import_modules

SHOTS = 16
WEIGHTS = "rn50.pt"
TARGET = 15.0
FAST = SCHEDULES["20 epochs, 1e-3, no warm-up"]
SIX = SCHEDULES["6 epochs, 1e-3, no warm-up"]
FOUR = SCHEDULES["4 epochs, 1e-3, no warm-up"]
BRIDGE = ("--plugin", "examples/lite_bridge.py", "--backbone", "lite-bridge")
PLAIN = ("INPUT.TRANSFORMS", "['normalize']", "FEATURES.VIEWS", "1")
RUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "RN50's size, 10 views, fast-wide": (("--backbone", WEIGHTS), FAST),
    "RN50's size, 1 view, fast-wide": (("--backbone", WEIGHTS), (*FAST, *PLAIN)),
    "lite-bridge, 1 view, fast-wide": (BRIDGE, (*FAST, *PLAIN)),
    "RN50's size, 1 view, fast-wide, 6 epochs": (("--backbone", WEIGHTS), (*SIX, *PLAIN)),
    "lite-bridge, 1 view, fast-wide, 6 epochs": (BRIDGE, (*SIX, *PLAIN)),
    "RN50's size, 1 view, fast-wide, 4 epochs": (("--backbone", WEIGHTS), (*FOUR, *PLAIN)),
    "lite-bridge, 1 view, fast-wide, 4 epochs": (BRIDGE, (*FOUR, *PLAIN)),
    "lite-bridge, 1 view, paper": (BRIDGE, PLAIN),
}


def measured(name: str, seed: int, root: Path, weights: Path) -> dict[str, Any]:
    """Run once from an empty cache; return accuracy on validation, minutes and what took them.

    Args:
        name: of :data:`RUNS`.
        seed: of the list and of the training.
        root: data root.
        weights: of a backbone of RN50's size.
    """
    backbone, options = RUNS[name]
    backbone = tuple(str(weights) if word == WEIGHTS else word for word in backbone)
    data = ("--root", str(root), "--dataset-config-file", "configs/datasets/caltech101.yaml")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        cold = ("FEATURES.ROOT", str(Path(folder) / "features"), *options)
        result = validated(cold, SHOTS, seed, [*data, *backbone], Path(folder))
        minutes = (time.perf_counter() - started) / 60
    row = {
        "run": name,
        "seed": seed,
        "minutes": minutes,
        "epochs": result.epochs,
        **{part: seconds / 60 for part, seconds in result.seconds.items()},
        "accuracy": result.accuracy,
    }
    print(row, flush=True)
    return row


def main() -> None:
    """Measure, print a table, and write results/time_to_accuracy.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="data root with Caltech101")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", nargs="+", default=list(RUNS), choices=RUNS, metavar="NAME")
    args, started = parser.parse_args(), time.perf_counter()
    import_modules(["trainers", "datasets"])
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / WEIGHTS
        write_random_weights(weights)
        rows = [
            measured(name, seed, args.root, weights) for name in args.only for seed in args.seeds
        ]
    print(tabulate(rows, "keys", "github", floatfmt=".2f"))
    write_results("time_to_accuracy", started, {"target_minutes": TARGET, "runs": rows})


if __name__ == "__main__":
    sys.exit(run_command(main))
