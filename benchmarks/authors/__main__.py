"""Side by side with the authors' own code: `python -m benchmarks.authors --code DIR`.

DIR holds checkouts, named as the repositories: Tip-Adapter, CALIP, FewShot-CLIP-Strong-Baseline
(LP++), CoOp, Dassl.pytorch and CLIP-Adapter. Absent ones are skipped. Programs run unchanged, as
processes of their own, with what :mod:`benchmarks.authors.shims` lists. Both sides start from the
same images and weights and an empty cache; seconds are those from the command to its end. Where
training would take too long, a few epochs and views are measured and scaled to all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.authors.cases import Case, write_digits, write_part
from benchmarks.authors.programs import (
    PROGRAMS,
    Program,
    Row,
    accuracy_of,
    parts_of,
    scaled_seconds,
)
from benchmarks.authors.shims import NEEDS
from benchmarks.end_to_end import write_random_weights
from benchmarks.machine import write_results
from vtclip.backbones.pretrained import TINY_WEIGHTS
from vtclip.results import read_result

ROOT = Path(__file__).resolve().parents[2]
TARGET, TARGET_ENCODING = 5.0, 20.0
# of each class; an epoch of 16 shots would take the programs minutes
FEW = {"train": 1, "val": 1, "test": 1}
TEN = {"train": 4, "val": 2, "test": 4}


def lines_of(command: list[str], folder: Path) -> tuple[list[tuple[float, str]], float]:
    """Run a program; return its lines with their times, and its seconds.

    Raises:
        SystemExit: it fails.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    errors = folder / "errors.txt"
    started, lines = time.perf_counter(), []
    with (
        errors.open("w") as log,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            lines.append((time.perf_counter() - started, line.strip()))
    seconds = time.perf_counter() - started
    if process.returncode:
        last = errors.read_text().strip().splitlines()[-1:]
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}: {last}")
    return lines, seconds


def ours(row: Row, case: Case, folder: Path) -> tuple[float, float]:
    """Run our command on an empty cache; return its seconds and the accuracy in percent.

    Where the epochs of a case are measured in part, the epochs of the head are so as well, and are
    scaled to all.
    """
    output = folder / row.trainer
    epochs = min(row.epochs, case.our_epochs or row.epochs)
    command = [
        *(sys.executable, "train.py", "--trainer", row.trainer, "--root", str(case.root)),
        *("--dataset-config-file", "configs/datasets/caltech101.yaml", "--shots", str(case.shots)),
        *("--backbone", str(case.weights), "--output-dir", str(output)),
        *("FEATURES.ROOT", str(output.with_suffix(".cache")), "DATASET.ALLOW_RANDOM_SPLIT", "True"),
        *(("OPTIM.MAX_EPOCH", str(epochs)) if row.epochs > 1 else ()),
    ]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")
    seconds = time.perf_counter() - started
    result = read_result(output / "result.json")
    return seconds + result.seconds["train"] * (row.epochs / epochs - 1), result.accuracy


def compare(program: Program, code: Path, case: Case, place: Path) -> list[dict[str, Any]]:
    """Return a record for each method of a program on a case."""
    folder = place / f"{program.name}-{case.name}".replace(" ", "-")
    folder.mkdir()
    lines, seconds = lines_of(program.command(code, case, folder), folder)
    parts = parts_of(program, lines, seconds)
    records = []
    for row in program.rows:
        own, accuracy = ours(row, case, folder)
        theirs = scaled_seconds(parts, row, case)
        target = TARGET_ENCODING if row.encodes else TARGET
        record = {
            "case": case.name,
            "method": row.trainer,
            "theirs_measured_seconds": seconds,
            "theirs_parts": parts,
            "theirs_seconds": theirs,
            "ours_seconds": own,
            "times_faster": theirs / own,
            "target": target,
            "scaled": theirs > sum(v for k, v in parts.items() if k not in row.without) + 1e-9,
            "theirs_accuracy": accuracy_of(row, lines),
            "ours_accuracy": accuracy,
        }
        print(
            f"{case.name}, {row.trainer}: {theirs:.1f} s, ours {own:.1f} s, "
            f"{theirs / own:.1f} times; accuracy {record['theirs_accuracy']:.2f}, {accuracy:.2f}",
            flush=True,
        )
        records.append(record)
    return records


def cases_in(place: Path, data: Path | None, quick: bool) -> list[Case]:
    """Write data and weights of all cases."""
    digits = place / "digits"
    few = 3 if not quick else 2
    cases = [
        Case(
            "digits, tiny", digits, TINY_WEIGHTS, 96, 128, 16, write_digits(digits), few, None, None
        )
    ]
    if quick:
        return cases
    if data is None:
        print("skipped: RN50's size, without --data DIR (a data root with Caltech101)")
        return cases
    weights = place / "rn50.pt"
    write_random_weights(weights)
    for count, limits in ((10, TEN), (100, FEW)):
        root = place / f"caltech{count}"
        classes = write_part(data, root, count, limits)
        name = f"RN50's size, K {count}"
        cases.append(Case(name, root, weights, 224, 1024, limits["train"], classes, 1, 1, 20))
    return cases


def main() -> None:
    """Measure, print and write benchmarks/results/authors.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--code", type=Path, required=True, help="folder of the checkouts")
    parser.add_argument("--data", type=Path, help="data root with Caltech101")
    parser.add_argument("--quick", action="store_true", help="digits alone")
    parser.add_argument("--programs", nargs="*", default=[p.name for p in PROGRAMS])
    parser.add_argument("--cases", nargs="*", help="parts of their names; all without it")
    args, started = parser.parse_args(), time.perf_counter()
    records = []
    with tempfile.TemporaryDirectory() as name:
        place, code = Path(name), args.code.resolve()
        for case in cases_in(place, args.data, args.quick):
            if args.cases and not any(part in case.name for part in args.cases):
                continue
            for program in PROGRAMS:
                if program.name not in args.programs:
                    continue
                absent = [
                    repository
                    for repository in program.repositories
                    if not (code / repository).is_dir()
                ]
                if absent:
                    print(f"skipped: {program.name}, no checkout {', '.join(absent)} in {code}")
                    continue
                records += compare(program, code, case, place)
    rows = [
        [r["case"], r["method"], r["theirs_seconds"], r["ours_seconds"], r["times_faster"]]
        for r in records
    ]
    print(tabulate(rows, ["", "", "theirs, s", "ours, s", "times"], floatfmt=".2f"))
    write_results("authors", started, {"shims": NEEDS, "records": records})


if __name__ == "__main__":
    main()
