"""Compare settings of VT-CLIP on few-shot validation images; test images are never encoded."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean

from tabulate import tabulate

from scripts.docs.grid import SEEDS, Job, run_all

COLUMNS = (("digits", 1), ("digits", 4), ("digits", 16), ("caltech101", 1))

# what a dataset was augmented with before the search; a setting may say otherwise
START = {"digits": ("INPUT.RRCROP_SCALE", "(0.5, 1.0)"), "caltech101": ()}


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes:
        table: GitHub markdown, a row a setting, the mean over all columns last.
        best: the setting with the highest mean.
        means: accuracy in each column, in percent, by setting.
        columns: what the columns are called.
        images: validation images behind each column, all seeds together.
    """

    table: str
    best: str
    means: dict[str, list[float]]
    columns: list[str]
    images: list[int]

    def near_best(self) -> list[str]:
        """Return the settings whose mean is within two standard errors of the best one's."""
        errors = self.errors(self.means[self.best])
        allowed = 2 * sqrt(sum(error**2 for error in errors)) / len(errors)
        best = mean(self.means[self.best])
        return [name for name, means in self.means.items() if best - mean(means) <= allowed]

    def behind(self, name: str) -> list[str]:
        """Return the columns in which a setting is over two standard errors behind the best."""
        best = [max(column) for column in zip(*self.means.values(), strict=True)]
        columns = zip(self.columns, self.means[name], best, self.errors(best), strict=True)
        return [
            f"{column} ({mine:.2f} against {top:.2f})"
            for column, mine, top, error in columns
            if top - mine > 2 * error
        ]

    def errors(self, means: Sequence[float]) -> list[float]:
        """Return the standard error of an accuracy in each column, in points."""
        return [sqrt(p * (100 - p) / n) for p, n in zip(means, self.images, strict=True)]


def parse_args(description: str) -> argparse.Namespace:
    """Parse the arguments of every comparison: data roots and an output folder."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--digits", type=Path, default=Path("data"), help="data root of digits")
    parser.add_argument("--caltech", type=Path, required=True, help="data root of Caltech101")
    parser.add_argument("--output", type=Path, default=Path("output/validation"))
    return parser.parse_args()


def compare(
    settings: Mapping[str, Sequence[str]],
    args: argparse.Namespace,
    columns: Sequence[tuple[str, int]] = COLUMNS,
) -> Comparison:
    """Train VT-CLIP under each setting on all columns and seeds, and evaluate on val.

    Args:
        settings: KEY VALUE pairs by name.
        args: see :func:`parse_args`.
        columns: dataset and shots of each.
    """
    roots = {"digits": args.digits, "caltech101": args.caltech}
    jobs = [
        Job(
            *("VTCLIP", dataset, shots, seed, roots[dataset]),
            name="_".join(options).replace("TRAINER.VTCLIP.", "").replace(" ", ""),
            options=(
                *("TEST.SPLIT", "val"),
                *START[dataset],
                *options,
            ),
        )
        for options in settings.values()
        for dataset, shots in columns
        for seed in SEEDS
    ]
    results = run_all(jobs, args.output)
    step = len(columns) * len(SEEDS)
    rows = [["zero-shot", *_means([r.zero_shot_accuracy for r in results[:step]])]]
    for start, name in zip(range(0, len(results), step), settings, strict=True):
        rows.append([name, *_means([r.accuracy for r in results[start : start + step]])])
    names = [f"{dataset}, {shots}" for dataset, shots in columns]
    best = max(rows[1:], key=lambda row: float(row[-1]))
    return Comparison(
        table=tabulate(rows, ["", *names, "mean"], "github", floatfmt=".2f"),
        best=str(best[0]),
        means={str(name): list(map(float, means[:-1])) for name, *means in rows[1:]},
        columns=names,
        images=[
            sum(r.total for r in results[column : column + len(SEEDS)])
            for column in range(0, step, len(SEEDS))
        ],
    )


def _means(accuracies: Sequence[float]) -> list[float]:
    means = [mean(accuracies[i : i + len(SEEDS)]) for i in range(0, len(accuracies), len(SEEDS))]
    return [*means, mean(means)]
