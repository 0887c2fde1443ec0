"""One sweep against the same runs by scripts/run.sh: `python -m benchmarks.sweep --bank FILE`.

Both carry out the same runs from an empty output folder on a cache that is filled before, with one
thread per process. Accuracy, macro-F1, ECE and NLL of each pair of runs are compared, and so are
their predictions, byte for byte. `--script-shots` and `--every` choose a part of the runs for
run.sh; figures are per run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtclip.errors import UserError, run_command

ROOT = Path(__file__).parents[1]
METHODS = ("TipAdapter", "GDA", "SSText", "LPPlusPlus", "ProKeR")
SHOTS = (1, 2, 4, 8, 16)
SEEDS = 6


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and of all cores together."""

    wall: float
    cpu: float


def cost_of(command: Sequence[str], folder: Path) -> Cost:
    """Return what a command costs that is run in a folder, with its children.

    Raises:
        UserError: it fails.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHON": sys.executable,
        # of its own: images that another program encodes meanwhile, in other batches, may replace
        # features by some that differ in the last digit
        "VTCLIP_CACHE": str(folder.parent / "cache"),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError(f"{' '.join(command)}: {' '.join(done.stderr.splitlines()[-1:])}")
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Cost(wall, user + system)


def sweep_command(datasets: Sequence[str], shots: Sequence[int], seeds: int) -> list[str]:
    """Return the command of a sweep."""
    return [
        *(sys.executable, str(ROOT / "sweep.py"), "--methods", ",".join(METHODS)),
        *("--datasets", ",".join(datasets), "--shots", ",".join(map(str, shots))),
        *("--seeds", f"1-{seeds}", "--backbone", "tiny"),
    ]


def script_commands(datasets: Sequence[str], shots: Sequence[int]) -> list[list[str]]:
    """Return the commands of run.sh, for seeds 1 to 3."""
    script = str(ROOT / "scripts" / "run.sh")
    return [
        ["bash", script, method, dataset, str(count), "tiny"]
        for dataset in datasets
        for method in METHODS
        for count in shots
    ]


def differing_runs(first: Path, second: Path) -> tuple[int, list[str]]:
    """Return how many runs two output folders share, and which of them differ."""
    shared, differing = 0, []
    for path in sorted(second.rglob("result.json")):
        folder = path.parent.relative_to(second)
        if not (first / folder / "result.json").is_file():
            continue
        shared += 1
        scores = [
            {
                name: json.loads((root / folder / "result.json").read_text())[name]
                for name in ("accuracy", "macro_f1", "ece", "nll", "search", "per_class")
            }
            for root in (first, second)
        ]
        predictions = [(root / folder / "predictions.csv").read_bytes() for root in (first, second)]
        if scores[0] != scores[1] or predictions[0] != predictions[1]:
            differing.append(str(folder))
    return shared, differing


def main() -> None:
    """Measure both and print the ratio.

    Raises:
        UserError: a command fails, or the results differ.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path, required=True, help="file of features of Caltech101")
    parser.add_argument("--shots", default=",".join(map(str, SHOTS)), help="of the sweep")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of the sweep, from 1")
    parser.add_argument("--script-shots", default="4", help="of run.sh, with seeds 1 to 3")
    parser.add_argument("--every", type=int, default=1, help="so many-th command of run.sh alone")
    args = parser.parse_args()
    of_sweep, of_script = (
        [int(count) for count in text.split(",")] for text in (args.shots, args.script_shots)
    )
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        bank = place / "caltech_bank.yaml"
        bank.write_text(
            f'DATASET:\n  NAME: "FeatureBank"\n  FEATURE_BANK: "{args.bank.absolute()}"\n'
        )
        datasets = ("digits", str(bank))
        folders = [place / kind for kind in ("warm", "sweep", "script")]
        for folder in folders:
            folder.mkdir()
        # features of the images, and the embedded images themselves
        cost_of(sweep_command(datasets[:1], of_sweep, args.seeds), folders[0])
        shutil.copytree(folders[0] / "data", folders[1] / "data")
        shutil.copytree(folders[0] / "data", folders[2] / "data")
        swept = cost_of(sweep_command(datasets, of_sweep, args.seeds), folders[1])
        runs = len(list(folders[1].rglob("result.json")))
        commands = script_commands(datasets, of_script)[:: args.every]
        costs = [cost_of(words, folders[2]) for words in commands]
        by_script = Cost(sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs))
        compared = len(list(folders[2].rglob("result.json")))
        shared, differing = differing_runs(folders[1], folders[2])
    print(f"sweep: {runs} runs, {swept.wall:.1f} s by the clock, {swept.cpu:.1f} s of cores")
    print(f"run.sh: {compared} runs, {by_script.wall:.1f} s, {by_script.cpu:.1f} s of cores")
    for kind, own, other in (
        ("by the clock", swept.wall, by_script.wall),
        ("of cores", swept.cpu, by_script.cpu),
    ):
        print(f"per run, {kind}: {own / runs:.2f} s against {other / compared:.2f} s, ", end="")
        print(f"{other / compared / (own / runs):.1f} times")
    print(f"equal to the last digit: {shared - len(differing)} of {shared} runs compared")
    if differing:
        raise UserError(f"{differing[0]}: differs (and {len(differing) - 1} more).")


if __name__ == "__main__":
    sys.exit(run_command(main))
