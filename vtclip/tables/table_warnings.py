"""Warnings about results: differing prompts, collapsed seeds, gaps within the noise, few seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from vtclip.tables.cells import Cell
from vtclip.tables.collect import Run
from vtclip.tables.metrics import METRICS
from vtclip.tables.names import dataset_order, method_name, shots_name, shots_order

COLLAPSE_POINTS = 5.0
ENOUGH_SEEDS = 3


def differing_prompts(runs: Iterable[Run]) -> list[str]:
    """Name each dataset whose methods differ in prompt templates, and the methods of each set."""
    methods: dict[str, dict[tuple[str, ...], set[str]]] = defaultdict(lambda: defaultdict(set))
    for run in runs:
        r = run.result
        methods[r.dataset][tuple(r.templates)].add(method_name(r.method))
    found = []
    for dataset in dataset_order([name for name, sides in methods.items() if len(sides) > 1]):
        sides = sorted(methods[dataset].items())
        parts = (f"{_prompts(t)} ({', '.join(sorted(names))})" for t, names in sides)
        found.append(f"{dataset}: the prompts differ: {'; '.join(parts)}")
    return found


def collapsed_seeds(runs: Iterable[Run]) -> list[str]:
    """Name each run more than COLLAPSE_POINTS points below its own zero-shot accuracy."""
    return [
        f"{method_name(r.method)} on {r.dataset} at {shots_name(r.shots)}, seed {r.seed}: "
        f"{r.accuracy:.2f}%, far below its zero-shot {r.zero_shot_accuracy:.2f}% ({run.folder})"
        for run in runs
        if (r := run.result).accuracy < r.zero_shot_accuracy - COLLAPSE_POINTS
    ]


def narrow_gaps(cells: Iterable[Cell], keyword: str = "accuracy") -> list[str]:
    """Name each first place whose lead is smaller than the seeds' deviation of the first two.

    Published results are not compared here: their seeds are unknown.
    """
    metric = METRICS[keyword]
    sign = 1 if metric.lower_is_better else -1
    what = "" if keyword == "accuracy" else f" in {keyword}"
    unit = "points" if metric.unit == "%" else metric.unit
    ours = [cell for cell in cells if not cell.row.source and cell.values]
    places = {(cell.dataset, cell.shots) for cell in ours if cell.shots != 0} or {
        (cell.dataset, cell.shots) for cell in ours
    }
    found = []
    for dataset, shots in sorted(places, key=lambda place: (place[0], shots_order(place[1]))):
        # a method without shots is compared at every shot count
        rivals = [c for c in ours if c.dataset == dataset and c.shots in {shots, 0}]
        first, *rest = sorted(rivals, key=lambda cell: sign * cell.mean)
        if not rest:
            continue
        gap, widest = abs(first.mean - rest[0].mean), max(first.std, rest[0].std)
        if widest > gap:
            found.append(
                f"{dataset} at {shots_name(shots)}: {method_name(first.row.method)} leads "
                f"{method_name(rest[0].row.method)}{what} by {metric.text(gap)} {unit}, "
                f"less than the deviation over seeds, {metric.text(widest)}"
            )
    return found


def few_seeds(cells: Iterable[Cell]) -> list[str]:
    """Name the methods with fewer than ENOUGH_SEEDS seeds; a run without shots needs only one."""
    places: dict[tuple[str, int], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        seeds = len(set(cell.seeds))
        if not cell.row.source and cell.shots != 0 and seeds < ENOUGH_SEEDS:
            places[method_name(cell.row.method), seeds][cell.dataset].append(cell.shots)
    found = []
    for (method, seeds), shots_of in sorted(places.items()):
        where = ", ".join(f"{dataset} at {_joined(shots)}" for dataset, shots in shots_of.items())
        found.append(f"{method}: only {seeds} {'seed' if seeds == 1 else 'seeds'}: {where}")
    return found


def table_warnings(
    runs: Sequence[Run], cells: Sequence[Cell], keyword: str = "accuracy"
) -> list[str]:
    """Return every warning about `runs` and the `cells` made of them, one sentence per warning.

    Args:
        runs: of the table.
        cells: their values of `keyword`.
        keyword: one of METRICS.
    """
    about_values = narrow_gaps(cells, keyword) + few_seeds(cells)
    return differing_prompts(runs) + collapsed_seeds(runs) + about_values


def _prompts(templates: Sequence[str]) -> str:
    if not templates:
        return "no template"
    # repr: a template may hold a line break
    return repr(templates[0]) + (f" and {len(templates) - 1} more" if templates[1:] else "")


def _joined(shots: Iterable[int]) -> str:
    ordered = sorted(shots, key=shots_order)
    if len(ordered) == 1 or ordered[-1] < 0:
        return ", ".join(shots_name(s) for s in ordered)
    return ", ".join(str(s) for s in ordered) + " shots"
