"""Run every method on a dataset, and write its page of results.

    export LITE_BRIDGE_CLASSNAMES=data/imagenet/classnames.txt
    python -m scripts.docs.results caltech101 --root data    # docs/results.md
    python -m scripts.docs.results digits --root data        # docs/results_digits.md

The runs are those of scripts/docs/sweeps; what has a result is not run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

from tabulate import tabulate

from vtclip.checkout import CONFIGS, ROOT
from vtclip.commands import sweep
from vtclip.errors import UserError, run_command
from vtclip.files import write_text
from vtclip.plugins import import_modules
from vtclip.results import RESULT_FILE, read_result
from vtclip.sweep.plan import plan_sweep
from vtclip.tables.benchmark_table import tables_of
from vtclip.tables.cells import Cell
from vtclip.tables.collect import Collection, Run
from vtclip.tables.layout import COSTS, TableData
from vtclip.tables.names import method_name, shots_name
from vtclip.tables.render import render

SWEEPS = Path(__file__).with_name("sweeps")
PAGES = {"caltech101": Path("docs/results.md"), "digits": Path("docs/results_digits.md")}
IMAGES = Path("docs/images")
METRICS = ("accuracy", "ece")
ENVIRONMENT = "export LITE_BRIDGE_CLASSNAMES=data/imagenet/classnames.txt\n    "
BELOW = "\n\n- "
# which search on validation; each is also run with fixed values
SEARCHED = ("TipAdapter", "TipAdapterF", "GDA", "ProKeR", "LinearProbe", "LPPlusPlus", "P0")
OURS = ("VTCLIP", "VTCLIP (fast)", "VTCLIPPlus", "VTCLIPPlus (fast)")

PAGE = """{intro}

Seeds 1 to 3; hyper-parameters and epochs are selected on few-shot validation images or not at all. This page is
written by

    {environment}python -m scripts.docs.results {name} --root data

The runs, those of `scripts/docs/sweeps/{name}.yaml`, took {hours} hours of one core together, beside the
encoding that a sweep does first.

## Accuracy and calibration

{tables}

![Accuracy against shots](images/{name}.png)

## Without any validation

Methods that search, with fixed values instead (`SEARCH False` of each, [rivals](rivals.md)), and in brackets what
that changes, in points of mean accuracy:

{without}

## Where VT-CLIP and its successor lose

Their lead over the best of the other methods at the same number of shots, in points of mean accuracy; below 0 they lose:

{losses}

{notes}
"""


def main() -> None:
    """Run what has no result yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=PAGES, help="which runs")
    parser.add_argument("--root", type=Path, required=True, help="data root")
    args = parser.parse_args()
    file = SWEEPS / f"{args.name}.yaml"
    command = [str(file), "--root", str(args.root), "--record", f"output/sweep_{args.name}.json"]
    import_modules(["trainers", "datasets"])
    accuracy, ece = tables_of(results_of(command), METRICS)
    (fixed,) = tables_of(results_of(with_fixed_values(command)), METRICS[:1])
    draw(accuracy, IMAGES / f"{args.name}.png")
    intro, notes = (
        (SWEEPS / f"{args.name}_{part}.md").read_text(encoding="utf-8").strip()
        for part in ("intro", "notes")
    )
    page = PAGE.format(
        intro=intro,
        name=args.name,
        environment=ENVIRONMENT if args.name == "caltech101" else "",
        hours=f"{hours([*accuracy.runs, *fixed.runs]):.1f}",
        tables=shown(accuracy, ece),
        without=without_validation(accuracy, fixed),
        losses=losses(accuracy),
        notes=notes,
    )
    write_text(PAGES[args.name], page)


def results_of(command: Sequence[str]) -> Collection:
    """Carry out a command of sweep.py, and return its results.

    Raises:
        UserError: a run has failed.
    """
    if sweep.main(command):
        raise UserError(f"sweep.py {' '.join(command)}: a run has failed.")
    options = sweep.options_of(sweep.parse_args(command))
    import_modules([], options.plugins)
    folders = [Path(run.folder) for run in plan_sweep(options, CONFIGS).runs]
    # a page names them as they are seen from the checkout
    return Collection([Run(folder, read_result(ROOT / folder / RESULT_FILE)) for folder in folders])


def with_fixed_values(command: Sequence[str]) -> list[str]:
    """Return a command of sweep.py for the methods that search, without their search."""
    settings = (f"--set=TRAINER.{method.upper()}.SEARCH=False" for method in SEARCHED)
    return [*command, "--methods", ",".join(SEARCHED), *settings]


def shown(accuracy: TableData, ece: TableData) -> str:
    """Return the table of accuracy with what the methods cost, and that of ECE."""
    costs = render(accuracy, "markdown", "methods", tuple(COSTS))
    calibration = render(ece, "markdown", "methods", ())
    # what stands below both is the same
    return f"{costs}\n\n{calibration.split(BELOW)[0]}"


def hours(runs: Iterable[Run]) -> float:
    """Return the time that runs have taken together, in hours."""
    return sum(sum(run.result.seconds.values()) for run in runs) / 3600


def without_validation(searched: TableData, fixed: TableData) -> str:
    """Return a table of methods with fixed values, and what those change."""
    chosen = {(cell.row.method, cell.shots): cell.mean for cell in searched.cells}
    rows = [
        [
            method_name(method),
            *(
                f"{cell.mean:.2f} ({cell.mean - chosen[method.split()[0], cell.shots]:+.2f})"
                for cell in cells
            ),
        ]
        for method, cells in cells_by_method(fixed).items()
    ]
    return tabulate(rows, ["method", *shots_columns(fixed)], "github", disable_numparse=True)


def counts_of(data: TableData) -> list[int]:
    """Return the numbers of shots, in order."""
    return sorted({cell.shots for cell in data.cells if cell.shots > 0})


def shots_columns(data: TableData) -> list[str]:
    """Return the names of the numbers of shots, in order."""
    return [shots_name(count) for count in counts_of(data)]


def losses(data: TableData) -> str:
    """Return a table of the methods of this project against the best of the others."""
    means = {
        method: means_by_shots(cells, counts_of(data))
        for method, cells in cells_by_method(data).items()
    }
    rows = []
    for own in (method for method in OURS if method in means):
        row = [own]
        for shots in (*counts_of(data), None):
            others = {
                method: found[shots]
                for method, found in means.items()
                if method not in OURS and shots in found
            }
            best = max(others, key=others.__getitem__)
            found = means[own].get(shots)
            row.append("" if found is None else f"{found - others[best]:+.2f} ({best})")
        rows.append(row)
    head = ["method", *shots_columns(data), "mean over shots"]
    return tabulate(rows, head, "github", disable_numparse=True)


def means_by_shots(cells: Sequence[Cell], counts: Sequence[int]) -> dict[int | None, float]:
    """Return the mean accuracy of a method by the number of shots, and over all as None.

    What has no shots has one accuracy for all, and what lacks some has none over all.
    """
    found = {cell.shots: cell.mean for cell in cells}
    by_shots = {count: found.get(count, found.get(0)) for count in counts}
    known: dict[int | None, float] = {
        count: value for count, value in by_shots.items() if value is not None
    }
    if len(known) == len(counts):
        known[None] = mean(known.values())
    return known


def cells_by_method(data: TableData) -> dict[str, list[Cell]]:
    """Return the cells of each method, by the number of shots."""
    methods: dict[str, list[Cell]] = {}
    for cell in sorted(data.cells, key=lambda cell: cell.shots):
        methods.setdefault(cell.row.method, []).append(cell)
    return methods


def draw(data: TableData, target: Path) -> None:
    """Plot the mean accuracy of each method against the shots, with the deviation over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 4.8), dpi=110)
    colours = iter(plt.get_cmap("tab20").colors)  # type: ignore[attr-defined]
    of_ours = iter(("black", "crimson", "dimgray", "salmon"))
    for method, cells in cells_by_method(data).items():
        means = [cell.mean for cell in cells]
        if cells[0].shots == 0:
            axes.axhline(means[0], color="grey", linestyle=":", label=method)
            continue
        ours = method in OURS
        axes.errorbar(
            [cell.shots for cell in cells],
            means,
            yerr=[cell.std for cell in cells] if ours else None,
            label=method,
            color=next(of_ours if ours else colours),
            linewidth=2.5 if ours else 1.2,
            marker="o" if ours else ".",
            capsize=2,
            zorder=3 if ours else 2,
        )
    shots = sorted({cell.shots for cell in data.cells if cell.shots > 0})
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(count) for count in shots])
    axes.set(xlabel="shots", ylabel="accuracy on the test split, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(run_command(main))
