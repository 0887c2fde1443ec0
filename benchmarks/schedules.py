"""The accuracy of VT-CLIP under other schedules, on all validation images of a dataset.

    python -m benchmarks.schedules
    python -m benchmarks.schedules --name caltech101 --seeds 1 --shots 1 4 -- ARGUMENTS

The ARGUMENTS are those of train.py that name dataset and backbone. The schedules are those of
`SCHEDULES`. Few-shot lists train, all validation images count (the few that a run may choose on
differ too little), and test images are not read. A schedule is near the paper's where its mean over
seeds is at most one deviation over seeds below.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import mean, pstdev
from unittest import mock

from tabulate import tabulate

import train
from benchmarks.machine import write_results
from benchmarks.selection_rules import all_validation
from datasets.base import ImageDataset
from datasets.feature_bank import FeatureBank
from vtclip.errors import UserError, run_command
from vtclip.plugins import import_modules
from vtclip.results import Result, read_result

PAPER = "paper"
NO_WARM_UP = ("OPTIM.WARMUP_EPOCH", "-1")
SCHEDULES: dict[str, tuple[str, ...]] = {
    PAPER: (),
    "20 epochs, 3e-3, no warm-up": ("OPTIM.MAX_EPOCH", "20", "OPTIM.LR", "3e-3", *NO_WARM_UP),
    "20 epochs, 2e-3, no warm-up": ("OPTIM.MAX_EPOCH", "20", "OPTIM.LR", "2e-3", *NO_WARM_UP),
    "20 epochs, 1e-3": ("OPTIM.MAX_EPOCH", "20"),
    "20 epochs, 3e-3": ("OPTIM.MAX_EPOCH", "20", "OPTIM.LR", "3e-3"),
    "20 epochs, 2e-3, batches of 16": (
        *("OPTIM.MAX_EPOCH", "20", "OPTIM.LR", "2e-3"),
        *("DATALOADER.TRAIN_X.BATCH_SIZE", "16"),
    ),
    "10 epochs, 3e-3, no warm-up": ("OPTIM.MAX_EPOCH", "10", "OPTIM.LR", "3e-3", *NO_WARM_UP),
}


def validated(schedule: str, shots: int, seed: int, data: Sequence[str], output: Path) -> Result:
    """Train VT-CLIP by a schedule, unless that was done, and return its result on validation.

    Args:
        schedule: a name of :data:`SCHEDULES`.
        data: the arguments of train.py that name the dataset; KEY VALUE pairs come last.
        output: the folder of all runs.

    Raises:
        UserError: the run failed.
    """
    folder = output / f"{shots}shots" / schedule.replace(" ", "_") / f"seed{seed}"
    run = ("--shots", str(shots), "--seed", str(seed), "--output-dir", str(folder))
    options = ("TEST.SPLIT", "val", *SCHEDULES[schedule])
    with (
        redirect_stdout(StringIO()),
        mock.patch.object(ImageDataset, "few_shots", all_validation),
        mock.patch.object(FeatureBank, "few_shots", all_validation),
    ):
        if train.main([*run, *data, *options]):
            raise UserError(f"{folder}: the run failed.")
    return read_result(folder / "result.json")


def cell(results: Sequence[Result]) -> str:
    """Return mean and deviation over seeds of the accuracy."""
    found = [result.accuracy for result in results]
    return f"{mean(found):.2f} ± {pstdev(found):.2f}" if len(found) > 1 else f"{found[0]:.2f}"


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options that say on which data a benchmark trains."""
    help = "arguments of train.py that name dataset and backbone, after --; none: the digits"
    parser.add_argument("data", nargs="*", default=["--root", "data"], help=help)
    parser.add_argument("--name", default="digits", help="of these data, in the file of results")


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add_data(parser)
    add("--shots", type=int, nargs="+", default=[1, 4, 16])
    add("--seeds", type=int, nargs="+", default=[1, 2, 3])
    add("--schedules", nargs="+", default=list(SCHEDULES), choices=SCHEDULES, metavar="NAME")
    add("--output", type=Path, default=Path("output/schedules"))
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    args, started = parse_args(), time.perf_counter()
    import_modules(["trainers", "datasets"])
    output = args.output / args.name
    rows = []
    for schedule in args.schedules:
        row = [schedule]
        for shots in args.shots:
            results = [validated(schedule, shots, seed, args.data, output) for seed in args.seeds]
            seconds = mean(result.seconds["train"] for result in results)
            row += [cell(results), f"{results[0].epochs}", f"{seconds:.1f}"]
            print(schedule, shots, *row[-3:], sep=", ", flush=True)
        rows.append(row)
    head = ["schedule"]
    for shots in args.shots:
        head += [f"{shots} shot{'s' * (shots > 1)}", "epochs", "seconds"]
    table = tabulate(rows, head, "github", disable_numparse=True)
    print(f"\n{table}\n")
    write_results(f"schedules_{args.name}", started, {"validation": table})


if __name__ == "__main__":
    sys.exit(run_command(main))
