"""Check that runs may share a table. A difference is one sentence: which runs differ in what.

- Table: one backbone (name and weights), because rows are compared and averaged over datasets.
- Dataset: one test set (split, classes, official or not, number of images), one way of training
  (on the dataset itself, or evaluated from a checkpoint; methods without shots are not checked),
  and the same few-shot lists per shot count and seed.
- Method on a dataset: one set of prompts and one selection rule for all shot counts. Two methods
  may differ in both, because some methods are defined by them.
- Cell (method, dataset and shots): one configuration, each seed once.
- Every run: selected on validation, or not at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any

from vtclip.results import SELECTED_LAST, SELECTED_NOTHING, SELECTED_VAL, Result
from vtclip.tables.collect import Run
from vtclip.tables.names import shots_name

_ALLOWED_SELECTION = {SELECTED_LAST, SELECTED_VAL, SELECTED_NOTHING}

Aspect = Callable[[Result], Hashable]

_SAME_IN_TABLE: dict[str, Aspect] = {
    "backbone": lambda r: r.backbone,
    "weights of the backbone": lambda r: r.backbone_fingerprint[:12],
}
_SAME_IN_DATASET: dict[str, Aspect] = {
    "split": lambda r: r.split,
    "classes": lambda r: r.classes,
    "split of the data": lambda r: "official" if r.comparable else "not official",
    "number of test images": lambda r: r.total,
}
_SAME_IN_METHOD: dict[str, Aspect] = {
    "prompt templates": lambda r: " | ".join(r.templates),
    "selection rule": lambda r: r.selected_on,
}
_SAME_IN_CELL: dict[str, Aspect] = {
    "configuration": lambda r: r.config_digest[:12],
    "number of trainable parameters": lambda r: r.trainable_parameters,
}


def differences(runs: Sequence[Run]) -> list[str]:
    """Return every difference that forbids a table of `runs`; an empty list if there is none."""
    found = not_selected_on_validation(runs)
    found += _disagreements("the table", runs, _SAME_IN_TABLE)
    for (dataset,), column in _groups(runs, lambda r: (r.dataset,)):
        found += _disagreements(dataset, column, _SAME_IN_DATASET)
        few_shot = [run for run in column if run.result.shots != 0]
        found += _disagreements(dataset, few_shot, {"training": _training})
        found += _list_differences(column)
    for (dataset, method), row in _groups(runs, lambda r: (r.dataset, r.method)):
        found += _disagreements(f"{method} on {dataset}", row, _SAME_IN_METHOD)
    for (dataset, method, shots), cell in _groups(runs, lambda r: (r.dataset, r.method, r.shots)):
        place = f"{method} on {dataset} at {shots_name(shots)}"
        found += _disagreements(place, cell, _SAME_IN_CELL)
        found += _repeated_seeds(place, cell)
    return found


def seed_differences(runs: Sequence[Run]) -> list[str]:
    """Return every difference that forbids one mean over `runs` as seeds of one experiment."""
    aspects: dict[str, Aspect] = {
        "method": lambda r: r.method,
        "dataset": lambda r: r.dataset,
        "shots": lambda r: r.shots,
    }
    return _disagreements("the seeds", runs, aspects) + differences(runs)


def not_selected_on_validation(runs: Sequence[Run]) -> list[str]:
    """Return one sentence per run that selected on another split than validation."""
    found = []
    for run in runs:
        search = run.result.search
        if run.result.selected_on not in _ALLOWED_SELECTION:
            found.append(f"{run.folder}: selected on {run.result.selected_on!r}, not on validation")
        elif search is not None and search.split != "val":
            found.append(f"{run.folder}: searched on {search.split!r}, not on validation")
    return found


def _training(result: Result) -> str:
    return "evaluated from a checkpoint" if result.evaluated else "trained on the dataset"


def _list_differences(column: Sequence[Run]) -> list[str]:
    found = []
    by_list = _groups(column, lambda r: (r.dataset, r.shots, r.seed))
    for (dataset, shots, seed), runs in by_list:
        for part in ("train", "val"):
            # a method that does not read the list has no digest of it
            readers = [run for run in runs if run.result.list_digest.get(part)]
            place = f"{dataset} at {shots_name(shots)}, seed {seed}"
            aspect = partial(_list, part)
            found += _disagreements(place, readers, {f"few-shot {part} list": aspect})
    return found


def _list(part: str, result: Result) -> str:
    return result.list_digest[part][:12]


def _repeated_seeds(place: str, cell: Sequence[Run]) -> list[str]:
    return [
        f"{place}: seed {seed} is there {len(runs)} times: "
        + ", ".join(str(r.folder) for r in runs)
        for (seed,), runs in _groups(cell, lambda r: (r.seed,))
        if len(runs) > 1
    ]


def _disagreements(place: str, runs: Iterable[Run], aspects: dict[str, Aspect]) -> list[str]:
    runs = list(runs)
    found = []
    for name, aspect in aspects.items():
        folders: dict[Hashable, list[str]] = defaultdict(list)
        for run in runs:
            folders[aspect(run.result)].append(str(run.folder))
        if len(folders) > 1:
            sides = (f"{value} ({_some(where)})" for value, where in folders.items())
            found.append(f"{place}: runs differ in {name}: {'; '.join(sides)}")
    return found


def _some(folders: Sequence[str]) -> str:
    more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
    return f"{folders[0]}{more}"


def _groups(
    runs: Iterable[Run], key: Callable[[Result], tuple[Hashable, ...]]
) -> list[tuple[tuple[Any, ...], list[Run]]]:
    grouped: dict[tuple[Hashable, ...], list[Run]] = defaultdict(list)
    for run in runs:
        grouped[key(run.result)].append(run)
    return list(grouped.items())
