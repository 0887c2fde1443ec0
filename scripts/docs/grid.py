"""Many runs of train.py, two at a time, each once: the ground of every page with figures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from vtclip.errors import UserError
from vtclip.results import RESULT_FILE, Result, is_complete, read_result

ROOT = Path(__file__).parents[2]
SEEDS = (1, 2, 3)
SHOTS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        name: what tells it from other runs of the same trainer, dataset, shots and seed.
        data: the data root.
        options: KEY VALUE pairs.
    """

    trainer: str
    dataset: str
    shots: int
    seed: int
    data: Path
    backbone: str = "tiny"
    name: str = ""
    options: tuple[str, ...] = ()

    def folder(self, output: Path) -> Path:
        """Return the output folder of the run below `output`."""
        experiment = f"{self.backbone}{self.name and '_' + self.name}_{self.shots}shots"
        return output / self.dataset / self.trainer / experiment / f"seed{self.seed}"


def run_all(jobs: Sequence[Job], output: Path, at_once: int = 2) -> list[Result]:
    """Run what has no result yet, and return the results in the order of `jobs`.

    Args:
        jobs: the runs.
        output: the folder that their folders go below.
        at_once: processes side by side, one thread each.

    Raises:
        UserError: a run failed; names its log.
    """
    missing = [job for job in jobs if not is_complete(job.folder(output))]
    with ThreadPoolExecutor(at_once) as pool:
        done = pool.map(lambda job: _run(job, output), missing)
        for _ in tqdm(done, total=len(missing), desc="runs", disable=None):
            pass
    return [read_result(job.folder(output) / RESULT_FILE) for job in jobs]


def _run(job: Job, output: Path) -> None:
    folder = job.folder(output)
    configs = ROOT / "configs"
    command = [
        *(sys.executable, str(ROOT / "train.py")),
        *("--root", str(job.data), "--seed", str(job.seed), "--trainer", job.trainer),
        *("--dataset-config-file", str(configs / "datasets" / f"{job.dataset}.yaml")),
        *("--backbone", job.backbone, "--shots", str(job.shots)),
        *("--output-dir", str(folder), *job.options),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise UserError(f"{' '.join(command)}: {finished.stderr.strip().splitlines()[-1]}")
