"""The runs of a sweep, each with its folder, in the order in which they are carried out."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtclip.errors import UserError, shortened, unknown_name
from vtclip.files import user_path
from vtclip.method import MethodFacts, registered_methods
from vtclip.protocol import differing_keys, resolve_epochs, run_settings
from vtclip.provenance import settings_digest
from vtclip.results import RESULT_FILE, read_result
from vtclip.run_config import RunArguments, plan_run
from vtclip.sweep.options import ELEVEN, SweepOptions

# a run takes them from its backbone, unless a user sets them
OF_BACKBONE = ("INPUT.SIZE", "INPUT.INTERPOLATION", "INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD")


@dataclass(frozen=True)
class PlannedRun:
    """One run.

    Attributes:
        arguments: of train.py.
        folder: where train.py puts it.
        method: as in tables, so with its recipe.
        backbone: its name.
        dataset: the label of the dataset, the first part of the folder.
        shots: images per class.
        seed: the seed.
        has_images: False where features are read from a file.
        settings: what decides its result, without what its backbone decides; the seeds of an
            experiment share the object.
        digest: of `settings`.
        used_shots: the shots of its result, 0 for a method that reads no training images.
        root: the data root, absolute.
    """

    arguments: tuple[str, ...]
    folder: Path
    method: str
    backbone: str
    dataset: str
    shots: int
    seed: int
    has_images: bool
    digest: str
    used_shots: int
    root: str
    settings: Mapping[str, Any] = field(repr=False, compare=False)

    def has_result(self) -> bool:
        """Tell whether the folder holds the result of these settings.

        Raises:
            UserError: what is there cannot be read.
        """
        path = self.folder / RESULT_FILE
        if not path.is_file():
            return False
        found = read_result(path)
        settings = {
            key: value
            for key, value in found.settings.items()
            if key in self.settings or key not in OF_BACKBONE
        }
        mine = (self.seed, self.used_shots, self.root, "")
        same = (found.seed, found.shots, found.dataset_root, found.evaluated) == mine
        return same and not differing_keys(dict(self.settings), settings)


@dataclass(frozen=True)
class SweepPlan:
    """The runs of a sweep, and what was said while they were planned, each line once."""

    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...] = ()


def plan_sweep(options: SweepOptions, configs: Path) -> SweepPlan:
    """Return the runs that are asked for, dataset by dataset and method by method.

    A method that reads no training images runs with the largest number of shots alone, since its
    result is the same with every number.

    Args:
        options: what is asked for; plug-ins are imported already.
        configs: the folder of configurations that come with the project.

    Raises:
        UserError: a name, file, key or value is wrong.
    """
    if not options.methods or not options.datasets:
        missing = "--methods" if not options.methods else "--datasets"
        raise UserError(f"{missing}: none is named.")
    said = io.StringIO()
    runs: dict[Path, PlannedRun] = {}
    with redirect_stderr(said):
        for dataset in _dataset_files(options.datasets, configs):
            for method in options.methods:
                for run in _runs_of(options, method, dataset, configs):
                    runs.setdefault(run.folder, run)
    return SweepPlan(tuple(runs.values()), tuple(dict.fromkeys(said.getvalue().splitlines())))


def slice_of(runs: Sequence[PlannedRun], text: str) -> tuple[PlannedRun, ...]:
    """Return the I-th of N slices of the runs, which together are all of them.

    Every N-th run is taken, so that slices take about as long as each other.

    Args:
        runs: all of them.
        text: "I/N", I from 1.

    Raises:
        UserError: it is no such text.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise UserError(f"--only: {shortened(text)!r} is not I/N with I from 1 to N, such as 1/8.")
    return tuple(runs[number - 1 :: count])


def _dataset_files(names: Sequence[str], configs: Path) -> list[Path]:
    """Return the configuration files of datasets.

    Raises:
        UserError: a name is unknown.
    """
    known = {path.stem: path for path in (configs / "datasets").glob("*.yaml")}
    found: dict[Path, None] = {}
    for name in names:
        if name.endswith((".yaml", ".yml")):
            found[user_path(name, "--datasets")] = None
            continue
        for one in ELEVEN if name == "all" else (name,):
            if one not in known:
                raise unknown_name("--datasets", one, ["all", *known])
            found[known[one]] = None
    return list(found)


def _runs_of(options: SweepOptions, method: str, dataset: Path, configs: Path) -> list[PlannedRun]:
    is_file = method.endswith((".yaml", ".yml"))
    if not is_file and method not in registered_methods():
        raise unknown_name("--methods", method, registered_methods())
    base = ["--config-file" if is_file else "--trainer", method]
    here = Path.cwd()
    shown = dataset.relative_to(here) if dataset.is_relative_to(here) else dataset
    base += ["--dataset-config-file", str(shown)]
    for name, value in (("--root", options.root), ("--backbone", options.backbone)):
        base += [name, value] if value else []
    for plugin in options.plugins:
        base += ["--plugin", plugin]
    pairs = [word for pair in (options.settings or {}).items() for word in pair]
    found: list[PlannedRun] = []
    # the largest first: a method that reads no training images needs no other
    for shots in sorted(options.shots, key=lambda count: (count < 0, count), reverse=True):
        arguments = RunArguments(
            method_file=method if is_file else "",
            trainer="" if is_file else method,
            dataset_file=str(dataset),
            backbone=options.backbone,
            dataset_root=options.root,
            shots=shots,
            options=pairs,
        )
        plan = plan_run(arguments, configs)
        if plan.named or "SEED" in (options.settings or {}):
            raise UserError("--set: a sweep sets OUTPUT_DIR, RESUME and SEED itself.")
        facts: type[MethodFacts] = registered_methods()[plan.cfg.TRAINER.NAME]
        by_user = [f"INPUT.{key}" for key in plan.cfg.INPUT.SET_BY_USER]
        settings = {
            key: value
            for key, value in run_settings(resolve_epochs(plan.cfg, facts)).items()
            if key not in OF_BACKBONE or key in by_user
        }
        digest = settings_digest(settings)
        recipe = plan.cfg.TRAINER.RECIPE
        for seed in options.seeds:
            cfg, _ = plan.run(seed, several=False)
            found.append(
                PlannedRun(
                    arguments=(*base, "--shots", str(shots), "--seed", str(seed), *pairs),
                    folder=Path(cfg.OUTPUT_DIR),
                    method=cfg.TRAINER.NAME + (f" ({recipe})" if recipe else ""),
                    backbone=cfg.MODEL.BACKBONE.NAME,
                    dataset=Path(cfg.OUTPUT_DIR).parts[-4],
                    shots=shots,
                    seed=seed,
                    has_images=not cfg.DATASET.FEATURE_BANK,
                    digest=digest,
                    used_shots=shots if facts.uses_shots else 0,
                    root=str(Path(cfg.DATASET.ROOT).expanduser().absolute()),
                    settings=settings,
                )
            )
        if not facts.uses_shots:
            break
    return found
