"""Many runs of train.py, two at a time, each once: the ground of every page with figures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from vtclip.errors import UserError
from vtclip.results import RESULT_FILE, Result, is_complete, read_result
from vtclip.sweep.engines import Resources, Task
from vtclip.sweep.local import LocalEngine

ROOT = Path(__file__).parents[2]
SEEDS = (1, 2, 3)


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

    def arguments(self, folder: Path) -> tuple[str, ...]:
        """Return the arguments of train.py for the run in a folder."""
        dataset = ROOT / "configs" / "datasets" / f"{self.dataset}.yaml"
        return (
            *("--root", str(self.data), "--seed", str(self.seed), "--trainer", self.trainer),
            *("--dataset-config-file", str(dataset)),
            *("--backbone", self.backbone, "--shots", str(self.shots)),
            *("--output-dir", str(folder), *self.options),
        )


def run_all(jobs: Sequence[Job], output: Path, at_once: int = 2) -> list[Result]:
    """Run what has no result yet, and return the results in the order of `jobs`.

    Args:
        jobs: the runs.
        output: the folder that their folders go below.
        at_once: processes side by side, one thread each.

    Raises:
        UserError: a run failed; names its log.
    """
    folders = {str(job.folder(output)): job for job in jobs}
    missing = {name: job for name, job in folders.items() if not is_complete(Path(name))}
    tasks = [
        Task(name, job.dataset, "run", (job.arguments(Path(name)),))
        for name, job in missing.items()
    ]
    engine = LocalEngine(at_once, Resources(), ROOT)
    with tqdm(total=len(tasks), desc="runs", disable=None) as bar:
        for event in engine.carry_out(tasks, lambda task: is_complete(Path(task.name))):
            if event is None or event.outcome is None:
                continue
            if event.outcome.state != "done":
                command = shlex.join(["python", "train.py", *event.task.arguments[0]])
                raise UserError(f"{command}: {' '.join(event.outcome.lines[-1:])}")
            bar.update(1)
    return [read_result(job.folder(output) / RESULT_FILE) for job in jobs]
