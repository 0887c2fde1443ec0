"""The accuracy of VT-CLIP under other schedules, on all validation images of a dataset.

    python -m benchmarks.schedules --root data
    python -m benchmarks.schedules --bank BANK.safetensors --width 256 --seeds 1 --shots 1 4

The schedules are those of `SCHEDULES`. Few-shot lists train, all validation images count (the few
that a run may choose on differ too little), and test images are not read. A schedule is near the
paper's where its mean over seeds is at most one deviation over seeds below.
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

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tabulate import tabulate
from torch import Tensor

import train
from benchmarks.machine import write_results
from benchmarks.selection_rules import all_validation
from datasets.base import ImageDataset
from datasets.feature_bank import FeatureBank
from vtclip.checkout import CONFIGS
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


def narrowed(bank: Path, width: int, folder: Path) -> Path:
    """Write a file of features in the directions in which they and the texts are largest.

    These are the first right singular vectors of the texts and of the training images' features,
    so cosine similarities stay about what they were.

    Args:
        bank: features, a safetensors file.
        width: how many directions.
        folder: where the new file goes.
    """
    path = folder / f"{bank.stem}_{width}.safetensors"
    if not path.is_file():
        with safe_open(bank, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        wide = tensors["text"].shape[1]
        shapes = {name: tensor.shape[-1] for name, tensor in tensors.items() if tensor.ndim > 1}
        rows = [
            unit(tensors[name].float())
            for name in shapes
            if name.startswith(("text", "shot", "train"))
        ]
        scatter = sum((part.T @ part for part in rows), torch.zeros(wide, wide))
        directions = torch.linalg.eigh(scatter.double()).eigenvectors[:, -width:].float()
        for name in shapes:
            tensors[name] = (tensors[name].float() @ directions).to(tensors[name].dtype)
        folder.mkdir(parents=True, exist_ok=True)
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, path, metadata)
    return path


def unit(x: Tensor) -> Tensor:
    """Return features [..., D] as normalised rows [N, D]."""
    return torch.nn.functional.normalize(x.flatten(0, -2), dim=-1)


def cell(results: Sequence[Result]) -> str:
    """Return mean and deviation over seeds of the accuracy."""
    found = [result.accuracy for result in results]
    return f"{mean(found):.2f} ± {pstdev(found):.2f}" if len(found) > 1 else f"{found[0]:.2f}"


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--root", type=Path, default=Path("data"), help="data root of the digits")
    add("--bank", type=Path, help="a file of features in place of the digits")
    add("--width", type=int, default=0, help="project the features to so many dimensions")
    add("--shots", type=int, nargs="+", default=[1, 4, 16])
    add("--seeds", type=int, nargs="+", default=[1, 2, 3])
    add("--schedules", nargs="+", default=list(SCHEDULES), choices=SCHEDULES, metavar="NAME")
    add("--output", type=Path, default=Path("output/schedules"))
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    args, started = parse_args(), time.perf_counter()
    import_modules(["trainers", "datasets"])
    data, output = ["--root", str(args.root)], args.output / "digits"
    if args.bank:
        output = args.output / f"{args.bank.stem}_{args.width}"
        bank = narrowed(args.bank, args.width, output) if args.width else args.bank
        file = CONFIGS / "datasets" / "feature_bank.yaml"
        data = ["--dataset-config-file", str(file), "DATASET.FEATURE_BANK", str(bank)]
    rows = []
    for schedule in args.schedules:
        row = [schedule]
        for shots in args.shots:
            results = [validated(schedule, shots, seed, data, output) for seed in args.seeds]
            seconds = mean(result.seconds["train"] for result in results)
            row += [cell(results), f"{results[0].epochs}", f"{seconds:.1f}"]
            print(schedule, shots, *row[-3:], sep=", ", flush=True)
        rows.append(row)
    head = ["schedule"]
    for shots in args.shots:
        head += [f"{shots} shot{'s' * (shots > 1)}", "epochs", "seconds"]
    table = tabulate(rows, head, "github", disable_numparse=True)
    print(f"\n{table}\n")
    write_results(f"schedules_{output.name}", started, {"validation": table})


if __name__ == "__main__":
    sys.exit(run_command(main))
