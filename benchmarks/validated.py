"""Runs of VT-CLIP that are judged on all validation images of a dataset, and tables of them.

Few-shot lists train, all validation images count (the few that a run may choose on differ too
little), and test images are not read.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
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
from vtclip.errors import UserError
from vtclip.plugins import import_modules
from vtclip.results import Result, read_result

Settings = Mapping[str, Sequence[str]]


def validated(
    options: Sequence[str], shots: int, seed: int, data: Sequence[str], folder: Path
) -> Result:
    """Train VT-CLIP, unless that was done, and return its result on validation.

    Args:
        options: KEY VALUE pairs.
        shots: images per class.
        seed: of the list and of the training.
        data: the arguments of train.py that name the dataset; KEY VALUE pairs come last.
        folder: of the runs by these options at any number of shots.

    Raises:
        UserError: the run failed.
    """
    output = folder / f"{shots}shots" / f"seed{seed}"
    run = ("--shots", str(shots), "--seed", str(seed), "--output-dir", str(output))
    with (
        redirect_stdout(StringIO()),
        mock.patch.object(ImageDataset, "few_shots", all_validation),
        mock.patch.object(FeatureBank, "few_shots", all_validation),
    ):
        if train.main([*run, *data, "TEST.SPLIT", "val", *options]):
            raise UserError(f"{output}: the run failed.")
    return read_result(output / "result.json")


def add_arguments(parser: argparse.ArgumentParser, shots: Sequence[int], output: str = "") -> None:
    """Add the options that say on which data a benchmark trains, and where runs are kept."""
    add = parser.add_argument
    help = "arguments of train.py that name dataset and backbone, after --; none: the digits"
    add("data", nargs="*", default=["--root", "data"], help=help)
    add("--name", default="digits", help="of these data, in the file of results")
    add("--shots", type=int, nargs="+", default=shots)
    add("--seeds", type=int, nargs="+", default=[1, 2, 3])
    if output:
        add("--output", type=Path, default=Path(output))


def cell(results: Sequence[Result]) -> str:
    """Return mean and deviation over seeds of the accuracy."""
    found = [result.accuracy for result in results]
    return f"{mean(found):.2f} ± {pstdev(found):.2f}" if len(found) > 1 else f"{found[0]:.2f}"


def compare(settings: Settings, args: argparse.Namespace) -> list[list[str]]:
    """Return a row per setting: accuracy, epochs and seconds of training at each number of shots.

    Args:
        settings: KEY VALUE pairs by the names of the rows.
        args: those of :func:`add_arguments`.
    """
    import_modules(["trainers", "datasets"])
    rows = []
    for name, options in settings.items():
        folder, row = args.output / args.name / name.replace(" ", "_"), [name]
        for shots in args.shots:
            results = [validated(options, shots, seed, args.data, folder) for seed in args.seeds]
            seconds = mean(result.seconds["train"] for result in results)
            row += [cell(results), f"{results[0].epochs}", f"{seconds:.1f}"]
            print(name, shots, *row[-3:], sep=", ", flush=True)
        rows.append(row)
    return rows


def report(benchmark: str, settings: Settings, description: str) -> None:
    """Compare settings from the command line: print the table, and write it to the results.

    Args:
        benchmark: the name of its file of results, before that of the data.
        settings: see :func:`compare`.
        description: one line for --help.
    """
    parser = argparse.ArgumentParser(description=description)
    add_arguments(parser, [1, 4, 16], f"output/{benchmark}")
    parser.add_argument(
        "--only", nargs="+", default=list(settings), choices=settings, metavar="NAME"
    )
    args, started = parser.parse_args(), time.perf_counter()
    head = ["setting"]
    for shots in args.shots:
        head += [f"{shots} shot{'s' * (shots > 1)}", "epochs", "seconds"]
    rows = compare({name: settings[name] for name in args.only}, args)
    table = tabulate(rows, head, "github", disable_numparse=True)
    print(f"\n{table}\n")
    write_results(f"{benchmark}_{args.name}", started, {"validation": table})
