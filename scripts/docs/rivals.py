"""Write what the code knows of each rival into its page: commands, defaults, published averages.

    python -m scripts.docs.rivals

Only what stands between the two marks of a page in docs/rivals/ is written; the rest is by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from vtclip.method import MethodFacts, registered_methods
from vtclip.plugins import import_modules
from vtclip.tables.names import BENCHMARK, dataset_name, method_name, same_method
from vtclip.tables.published import PublishedResult, read_published

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "rivals"
START, END = "<!-- from the code -->", "<!-- end -->"
# trainers of each page
PAGES: dict[str, tuple[str, ...]] = {
    "calip": ("CALIP",),
    "clap": ("CLAP", "ZSLP"),
    "clip_adapter": ("CLIPAdapter",),
    "coop": ("CoOp",),
    "gda_clip": ("GDA",),
    "linear_probe": ("LinearProbe",),
    "lp_plus_plus": ("LPPlusPlus",),
    "p0": ("P0",),
    "proker": ("ProKeR",),
    "rla": ("RLA",),
    "ss_text": ("SSText",),
    "task_res": ("TaskRes",),
    "tip_adapter": ("TipAdapter", "TipAdapterF"),
    "zero_shot_clip": ("ZeroshotCLIP", "ZeroshotCLIP2"),
}
# names in publications that differ from those of the trainers in more than spelling
PUBLISHED_AS = {"GDA": "GDA-CLIP", "LPPlusPlus": "LP++"}


@dataclass(frozen=True)
class Published:
    """Mean accuracies of one source, by shots.

    Attributes:
        of: which datasets they are the mean of.
    """

    method: str
    backbone: str
    of: str
    by_shots: dict[int, float]
    source: str
    selected_on: str


def section(names: Sequence[str]) -> str:
    """Return what the code knows of the trainers of a page, as Markdown."""
    methods = registered_methods()
    parts = ["## Run it"]
    dataset = "oxford_pets"
    commands = [
        f"    bash scripts/run.sh {name} {dataset} {16 if methods[name].uses_shots else 0} rn50"
        for name in names
    ]
    parts.append("\n".join(commands))
    if any(methods[name].uses_shots for name in names):
        parts.append(
            "and on the digits and the small CLIP that come along, with 4 shots:\n\n"
            + "\n".join(f"    python train.py --trainer {name} --shots 4" for name in names)
        )
    parts.append("## Defaults")
    tables = {name: defaults(methods[name]) for name in names}
    for table in dict.fromkeys(tables.values()):
        alike = " and ".join(f"`{name}`" for name in names if tables[name] == table)
        parts.append(f"{alike}:\n\n{table}" if table else f"{alike}: no setting of its own.")
    parts.append(
        "Batches and augmentation that are not named are CoOp's, as far as the method uses any. What is "
        "the authors'\nand what is not stands below."
    )
    parts.append("## Published averages")
    parts.append(published_table(names))
    return "\n\n".join(parts)


def defaults(method: type[MethodFacts]) -> str:
    """Return the table of the method's own values of an unchanged run, "" for none."""
    rows = [
        (f"`TRAINER.{method.option_node()}.{key}`", _value(option.default), _cell(option.meaning))
        for key, option in method.OPTIONS.items()
    ]
    rows += [(f"`{key}`", _value(method.PROTOCOL[key]), "") for key in sorted(method.PROTOCOL)]
    for dataset, values in method.PROTOCOL_ON.items():
        rows += [(f"`{key}`", _value(value), f"on {dataset}") for key, value in values.items()]
    if "OPTIM.NAME" in method.PROTOCOL:
        epochs = [method.protocol_epochs("Caltech101", shots) for shots in (1, 4, 16)]
        text = " / ".join(map(str, epochs))
        rows.append(("`OPTIM.MAX_EPOCH`", text, "at 1 / 4 / 16 shots of Caltech101"))
    if not rows:
        return ""
    return tabulate(rows, ["key", "default", ""], "github", disable_numparse=True)


def _value(value: object) -> str:
    return "none" if value == "" else str(value)


def _cell(text: str) -> str:
    """Return a text as it may stand in a cell: |A| would end it."""
    return text.replace("|", "\\|")


def published_table(names: Iterable[str]) -> str:
    """Return the published means of the methods, or that none are at hand."""
    wanted = [PUBLISHED_AS.get(name, method_name(name)) for name in names]
    found = [
        row
        for row in averages(read_published())
        if any(same_method(row.method, name) for name in wanted)
    ]
    if not found:
        return "None are in `vtclip/tables/published_results.csv`: no machine-readable source was at hand."
    shots = sorted({count for row in found for count in row.by_shots})
    sources = list(dict.fromkeys(row.source for row in found))
    rows = [
        (
            row.method,
            row.backbone,
            row.of,
            *(f"{row.by_shots[s]:.2f}" if s in row.by_shots else "" for s in shots),
            row.selected_on or "not known",
            f"[{sources.index(row.source) + 1}]",
        )
        for row in found
    ]
    head = ["method", "backbone", "mean of", *map(str, shots), "selected on", "from"]
    table = tabulate(rows, head, "github", disable_numparse=True)
    listed = "\n".join(f"{number}. `{source}`" for number, source in enumerate(sources, 1))
    return (
        "Accuracy in %; the numbers above the columns are shots. From\n"
        "`vtclip/tables/published_results.csv`; nothing here was run again.\n\n"
        f"{table}\n\nSources:\n\n{listed}"
    )


def averages(results: Iterable[PublishedResult]) -> list[Published]:
    """Return, by source, the average of eleven datasets: as published, or worked out from all."""
    groups: dict[tuple[str, str, str], list[PublishedResult]] = {}
    for result in results:
        groups.setdefault((result.method, result.backbone, result.source), []).append(result)
    found = []
    for (method, backbone, source), group in groups.items():
        by_shots: dict[int, float] = {}
        of = "11 datasets"
        for shots in sorted({result.shots for result in group}):
            part = {dataset_name(r.dataset): r.accuracy for r in group if r.shots == shots}
            if "average" in part:
                by_shots[shots] = part["average"]
            elif part.keys() == BENCHMARK.keys():
                by_shots[shots] = sum(part.values()) / len(part)
        if not by_shots:
            of = "ImageNet"
            by_shots = {r.shots: r.accuracy for r in group if dataset_name(r.dataset) == "ImageNet"}
        if by_shots:
            chosen = {r.selected_on for r in group if r.selected_on}
            on = "test, on ImageNet" if _only_imagenet(group) else ", ".join(sorted(chosen))
            found.append(Published(method, backbone, of, by_shots, source, on))
    return found


def _only_imagenet(group: Sequence[PublishedResult]) -> bool:
    on_test = {dataset_name(r.dataset) for r in group if r.selected_on == "test"}
    return on_test == {"ImageNet"}


def replaced(page: str, text: str) -> str:
    """Return a page with `text` between its marks."""
    before, mark, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"the page has no {START} and {END}")
    return f"{before}{START}\n\n{text}\n\n{END}{after}"


def main() -> None:
    """Write the pages."""
    import_modules(["trainers"])
    for name, trainers in PAGES.items():
        path = FOLDER / f"{name}.md"
        path.write_text(replaced(path.read_text(encoding="utf-8"), section(trainers)), "utf-8")


if __name__ == "__main__":
    main()
