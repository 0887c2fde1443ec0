"""Run every method on digits and on the photographs of Caltech101, and write docs/results.md.

    export LITE_BRIDGE_CLASSNAMES=data/imagenet/classnames.txt
    python -m scripts.docs.results --root data

The runs are those of scripts/docs/sweeps; what has a result is not run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from vtclip.checkout import CONFIGS, ROOT
from vtclip.commands import sweep
from vtclip.errors import UserError, run_command
from vtclip.files import write_text
from vtclip.plugins import import_modules
from vtclip.results import RESULT_FILE, read_result
from vtclip.sweep.plan import SweepPlan, plan_sweep
from vtclip.tables.benchmark_table import tables_of
from vtclip.tables.cells import Cell
from vtclip.tables.collect import Collection, Run
from vtclip.tables.layout import COSTS, TableData
from vtclip.tables.names import shots_name
from vtclip.tables.render import render

SWEEPS = Path(__file__).with_name("sweeps")
NAMES = ("caltech101", "digits")
NOTES = Path(__file__).with_name("results_notes.md")
IMAGES = Path("docs/images")
METRICS = ("accuracy", "ece")
OURS = ("VTCLIP", "VTCLIP (fast)", "VTCLIPPlus", "VTCLIPPlus (fast)")

PAGE = """# Results

Every method on two datasets; seeds 1 to 3, hyper-parameters and epochs selected on few-shot validation
images or not at all. This page is written by

    export LITE_BRIDGE_CLASSNAMES=data/imagenet/classnames.txt
    python -m scripts.docs.results --root data

which takes the time of the runs below ({hours} hours of one core) and that of encoding the images. The runs are those of
`scripts/docs/sweeps`, by `python sweep.py`. CLIP's own features are in [another table](feature_bank.md).

{notes}

## Caltech101: photographs

The official test split, 2,465 images, with [the lite bridge](lite_bridge.md) in 256 directions: two models that were
never trained together, so absolute figures say nothing about CLIP's. To fit into hours on two cores no image is
augmented, for any method: each is resized to a square, and caches and training see it as it is.

{caltech101}

![Accuracy on Caltech101 against shots](images/caltech101.png)

## Digits

719 test images of handwritten digits with the backbone [tiny](tiny.md), every method by its defaults.

{digits}

![Accuracy on digits against shots](images/digits.png)

## Where VT-CLIP and its successor lose

The best of the other methods at the same number of shots, by mean accuracy:

{losses}
"""


def main() -> None:
    """Run what has no result yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="data root")
    args = parser.parse_args()
    import_modules(["trainers", "datasets"])
    tables = {}
    for name in NAMES:
        command = [str(SWEEPS / f"{name}.yaml"), "--root", str(args.root)]
        record = ["--record", f"output/sweep_{name}.json"]
        if sweep.main([*command, *record]):
            raise UserError(f"{SWEEPS / name}.yaml: a run has failed.")
        tables[name] = tables_of(results_of(planned(command)), METRICS)
        draw(tables[name][0], IMAGES / f"{name}.png")
    accuracies = [of_dataset[0] for of_dataset in tables.values()]
    page = PAGE.format(
        **{name: shown(of_dataset) for name, of_dataset in tables.items()},
        losses=losses(accuracies),
        hours=f"{hours(accuracies):.1f}",
        notes=NOTES.read_text(encoding="utf-8").strip(),
    )
    write_text(Path("docs/results.md"), page)


def planned(command: Sequence[str]) -> SweepPlan:
    """Return the runs of a command of sweep.py."""
    options = sweep.options_of(sweep.parse_args(command))
    import_modules([], options.plugins)
    return plan_sweep(options, CONFIGS)


def results_of(plan: SweepPlan) -> Collection:
    """Return the results of runs."""
    folders = [ROOT / run.folder for run in plan.runs]
    return Collection([Run(folder, read_result(folder / RESULT_FILE)) for folder in folders])


def shown(tables: Sequence[TableData]) -> str:
    """Return the table of accuracy with what the methods cost, and that of ECE."""
    accuracy, ece = tables
    costs = render(accuracy, "markdown", "methods", tuple(COSTS))
    calibration = render(ece, "markdown", "methods", ())
    # what stands below both is the same
    return f"{costs}\n\n{calibration.split(chr(10) + chr(10) + '- ')[0]}"


def hours(tables: Sequence[TableData]) -> float:
    """Return the time that all runs have taken, in hours."""
    seconds = [sum(run.result.seconds.values()) for data in tables for run in data.runs]
    return sum(seconds) / 3600


def losses(tables: Sequence[TableData]) -> str:
    """Return a table of the methods of this project against the best of the others."""
    rows = [row for data in tables for row in _rows(data)]
    return tabulate(
        rows, ["dataset", "method", *rows_head(tables)], "github", disable_numparse=True
    )


def rows_head(tables: Sequence[TableData]) -> list[str]:
    """Return the heads of the columns of shots."""
    counts = {cell.shots for data in tables for cell in data.cells if cell.shots > 0}
    return [shots_name(count) for count in sorted(counts)]


def _rows(data: TableData) -> Iterator[list[str]]:
    by_method: dict[str, dict[int, Cell]] = {}
    for cell in data.cells:
        by_method.setdefault(cell.row.method, {})[cell.shots] = cell
    for own in (method for method in OURS if method in by_method):
        row = [data.datasets[0], own]
        for shots, cell in sorted(by_method[own].items()):
            name, best = max(
                (
                    (method, cells[shots].mean)
                    for method, cells in by_method.items()
                    if method not in OURS and shots in cells
                ),
                key=lambda found: found[1],
            )
            row.append(f"{cell.mean - best:+.2f} ({name})")
        yield row


def draw(data: TableData, target: Path) -> None:
    """Plot the mean accuracy of each method against the shots, with the deviation over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 4.8), dpi=110)
    colours = iter(plt.get_cmap("tab20").colors)  # type: ignore[attr-defined]
    methods: dict[str, list[Cell]] = {}
    for cell in sorted(data.cells, key=lambda cell: cell.shots):
        methods.setdefault(cell.row.method, []).append(cell)
    for method, cells in methods.items():
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
            color=next(colours),
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
