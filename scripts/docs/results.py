"""Run every method on digits and Caltech101 with the tiny backbone, and write docs/results.md.

python -m scripts.docs.results --caltech CALTECH_ROOT
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.docs.grid import SEEDS, SHOTS, Job, run_all
from vtclip.errors import run_command
from vtclip.files import write_text
from vtclip.tables.benchmark_table import load_results
from vtclip.tables.cells import Cell
from vtclip.tables.layout import COSTS, TableData
from vtclip.tables.names import shots_name
from vtclip.tables.render import render

WITHOUT_SHOTS = ("ZeroshotCLIP", "ZeroshotCLIP2")
WITH_SHOTS = (
    "LinearProbe",
    "CALIP",
    "TipAdapter",
    "CoOp",
    "CLIPAdapter",
    "TipAdapterF",
    "VTCLIP",
)
CALTECH_SHOTS = (1, 4)
PLOT = Path("docs/images/digits.png")
NOTES = Path(__file__).with_name("results_notes.md")

PAGE = """# Results

Every method on the embedded digits (719 test images) and on the whole of Caltech101 (2,465 test images),
with the tiny backbone, which has never seen either: it learnt from rendered pictures
([tiny.md](tiny.md)), so absolute figures say nothing about CLIP. Seeds 1 to 3; hyper-parameters and
epochs are selected on few-shot validation images or not at all. This page is written by

    python -m scripts.docs.results --caltech CALTECH_ROOT

## Digits

{digits}

![Accuracy on digits against shots](images/digits.png)

## Caltech101

{caltech101}

## Where VT-CLIP loses

{losses}

{notes}"""


def main() -> None:
    """Run what has no result yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--digits", type=Path, default=Path("data"), help="data root of digits")
    parser.add_argument("--caltech", type=Path, required=True, help="data root of Caltech101")
    parser.add_argument("--output", type=Path, default=Path("output/results"))
    args = parser.parse_args()
    run_all(
        [*jobs("digits", args.digits, SHOTS), *jobs("caltech101", args.caltech, CALTECH_SHOTS)],
        args.output,
    )
    data = {name: load_results(args.output / name) for name in ("digits", "caltech101")}
    draw(data["digits"], PLOT)
    page = PAGE.format(
        **{
            name: render(found, "markdown", "methods", tuple(COSTS)) for name, found in data.items()
        },
        losses="\n".join(loss for found in data.values() for loss in losses(found.cells)),
        notes=NOTES.read_text(encoding="utf-8"),
    )
    write_text(Path("docs/results.md"), page)
    print(page)


def jobs(dataset: str, data: Path, shots: Sequence[int]) -> Iterator[Job]:
    """Yield the runs of every method on a dataset."""
    for seed in SEEDS:
        for trainer in WITHOUT_SHOTS:
            yield Job(trainer, dataset, shots[-1], seed, data)
        for trainer in WITH_SHOTS:
            for count in shots:
                yield Job(trainer, dataset, count, seed, data)


def losses(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield a line for each shot count at which other methods beat VT-CLIP's mean."""
    of_vtclip = [cell for cell in cells if cell.row.method == "VTCLIP"]
    for own in sorted(of_vtclip, key=lambda cell: cell.shots):
        ahead = [
            f"{cell.row.method} by {cell.mean - own.mean:.2f}"
            for cell in sorted(cells, key=lambda cell: -cell.mean)
            if cell.shots in (0, own.shots) and cell.mean > own.mean
        ]
        verdict = "behind " + ", ".join(ahead) if ahead else "behind none"
        yield f"- {own.dataset}, {shots_name(own.shots)}: {own.mean:.2f}, {verdict}."


def draw(data: TableData, target: Path) -> None:
    """Plot the mean accuracy of each method against the shots, with the deviation over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.4), dpi=110)
    for method in (*WITHOUT_SHOTS[:1], *WITH_SHOTS):
        cells = sorted(
            (cell for cell in data.cells if cell.row.method == method), key=lambda cell: cell.shots
        )
        means = [cell.mean for cell in cells]
        if cells[0].shots == 0:
            axes.axhline(means[0], color="grey", linestyle=":", label=method)
            continue
        shots = [cell.shots for cell in cells]
        ours = method == "VTCLIP"
        axes.errorbar(
            shots,
            means,
            yerr=[cell.std for cell in cells],
            label=method,
            linewidth=2.5 if ours else 1.2,
            marker="o" if ours else ".",
            capsize=2,
            zorder=3 if ours else 2,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(SHOTS, [str(count) for count in SHOTS])
    axes.set(xlabel="shots", ylabel="accuracy on the test split, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, bbox_inches="tight", metadata={"Software": None})


if __name__ == "__main__":
    sys.exit(run_command(main))
