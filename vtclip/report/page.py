"""One self-contained page about all runs below a folder: no network, no server."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from vtclip.errors import UserError
from vtclip.features.pixels import decode_image
from vtclip.files import require_file
from vtclip.predictions import Judged, read_predictions
from vtclip.report.attention import look_of, overlay_image
from vtclip.report.classes import draw_class_gains
from vtclip.report.confusion import draw_confusion
from vtclip.report.curves import draw_curves, zero_shot_cells
from vtclip.report.picking import pick_rows, title_of_run
from vtclip.report.style import svg_of
from vtclip.results import Result
from vtclip.tables.benchmark_table import load_tables
from vtclip.tables.cells import Cell
from vtclip.tables.collect import Run
from vtclip.tables.layout import TableData
from vtclip.tables.names import shots_name
from vtclip.tables.render import all_footnotes
from vtclip.tables.spread import mean

if TYPE_CHECKING:
    from vtclip.predictor import Predictor

TEMPLATE = "page.html"
THUMBNAIL = 144
METRICS_SHOWN = ("accuracy", "ece", "nll")


@dataclass(frozen=True)
class Line:
    """A line of the table: one method on one dataset at one shot count."""

    method: str
    backbone: str
    dataset: str
    shots: int
    shots_name: str
    accuracy: float
    deviation: float | None
    seeds: int
    zero_shot: float
    ece: float | None
    nll: float | None
    seconds: float | None
    parameters: int | None
    selected_on: str

    @property
    def gain(self) -> float:
        """Over zero-shot CLIP, in points."""
        return self.accuracy - self.zero_shot


@dataclass(frozen=True)
class Shown:
    """An image on the page.

    Attributes:
        judged: what the run says of it.
        picture: a data URL of the image; "" where the file is not there.
        attention: a data URL of where the text of the predicted class looks, "" without one.
    """

    judged: Judged
    picture: str
    attention: str = ""


@dataclass(frozen=True)
class Details:
    """What the page says of one run.

    Attributes:
        title: of the run.
        figures: inline SVG, by title.
        galleries: images, by title.
        provenance: names and values.
        notes: what could not be shown, and why.
    """

    title: str
    figures: dict[str, str]
    galleries: dict[str, list[Shown]]
    provenance: dict[str, str]
    notes: list[str] = field(default_factory=list)


def build_page(folder: Path, *, images: int, runs_in_detail: int, root: str, mix: bool) -> str:
    """Return the page as HTML.

    Args:
        folder: with results anywhere below it.
        images: per run and gallery.
        runs_in_detail: how many runs are shown in detail; of each method and dataset the one with
            the most shots and the lowest seed comes first.
        root: the data root; empty: that of each run.
        mix: also runs that differ in what should agree.

    Raises:
        UserError: there are no results, or they differ.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    tables = load_tables(folder, METRICS_SHOWN, mix=mix)
    number = len(METRICS_SHOWN)
    sections = [tables[i : i + number] for i in range(0, len(tables), number)]
    runs = list({run.folder: run for data in tables for run in data.runs}.values())
    chosen = runs_to_detail(runs)
    details = [_details(run, images, root) for run in chosen[:runs_in_detail]]
    lines = [line for section in sections for line in table_lines(section, section[0].runs)]
    notes = all_footnotes(tables)
    environment = Environment(
        loader=PackageLoader("vtclip", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=f"Results in {folder.name or folder}",
        sections=[section[0].section for section in sections],
        lines=lines,
        backbones=list(dict.fromkeys(line.backbone for line in lines)),
        methods=list(dict.fromkeys(line.method for line in lines)),
        datasets=list(dict.fromkeys(line.dataset for line in lines)),
        shots=list(dict.fromkeys((line.shots, line.shots_name) for line in lines)),
        curves={
            accuracy.section: svg_of(draw_curves(_with_zero_shot(accuracy)))
            for accuracy, *_ in sections
        },
        warnings=[line for line in notes if line.startswith("warning: ")],
        notes=[line for line in notes if not line.startswith("warning: ")],
        details=details,
        left_out=len(chosen) - len(details),
    )


def table_lines(tables: Sequence[TableData], runs: Sequence[Run]) -> list[Line]:
    """Return the lines of the table, in the order of the first of `tables`.

    Args:
        tables: of accuracy, ECE and NLL.
        runs: those that the tables are made of.
    """
    ece, nll = ({_place(cell): cell for cell in data.cells} for data in tables[1:])
    found = []
    kind = tables[0].kind
    for cell in tables[0].cells:
        group = [run.result for run in runs if _place_of(run.result) == _place(cell)]
        found.append(
            Line(
                method=cell.row.method,
                backbone=cell.backbone,
                dataset=f"{cell.dataset} ({kind})" if kind else cell.dataset,
                shots=cell.shots,
                shots_name=shots_name(cell.shots),
                accuracy=cell.mean,
                deviation=cell.std if len(cell.values) > 1 else None,
                seeds=len(set(cell.seeds)),
                zero_shot=mean([result.zero_shot_accuracy for result in group]),
                ece=_mean(ece[_place(cell)]),
                nll=_mean(nll[_place(cell)]),
                seconds=cell.seconds,
                parameters=cell.parameters,
                selected_on=cell.selected_on,
            )
        )
    return found


def runs_to_detail(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with the most shots first, and of those the lowest seeds."""
    return sorted(runs, key=lambda run: (-(run.result.shots % 10**6), run.result.seed))


def _with_zero_shot(data: TableData) -> TableData:
    from dataclasses import replace

    if not all(cell.shots for cell in data.cells):
        return data
    return replace(data, cells=[*data.cells, *zero_shot_cells(data.runs)])


def _place(cell: Cell) -> tuple[str, str, int]:
    return cell.row.method, cell.dataset, cell.shots


def _place_of(result: Result) -> tuple[str, str, int]:
    return result.method, result.dataset, result.shots


def _mean(cell: Cell) -> float | None:
    return cell.mean if cell.values else None


def _details(run: Run, images: int, root: str) -> Details:
    title = title_of_run(run.folder)
    try:
        judged = read_predictions(run.folder)
    except UserError as error:
        return Details(title, {}, {}, _provenance(run), [str(error)])
    wrong = sorted(
        (row for row in judged if row.predicted != row.label),
        key=lambda row: -row.predicted_probability,
    )
    picked = {
        "Most confident errors": wrong[:images],
        "Won against zero-shot CLIP": pick_rows(judged, "won", images, 0),
        "Lost against zero-shot CLIP": pick_rows(judged, "lost", images, 0),
    }
    predictor, notes = _predictor(run, any(picked.values()))
    data = Path(root or run.result.dataset_root)
    return Details(
        title,
        {
            "Confusion": svg_of(draw_confusion(judged, title)),
            "Gain per class": svg_of(draw_class_gains(judged, title)),
        },
        {
            name: [_shown(row, data / row.path, predictor) for row in rows]
            for name, rows in picked.items()
        },
        _provenance(run),
        notes,
    )


def _predictor(run: Run, needed: bool) -> tuple[Predictor | None, list[str]]:
    """Return the run at work, None with the reason where there is no attention to show."""
    from vtclip.predictor import load_predictor

    if not needed:
        return None, []
    try:
        predictor = load_predictor(run.folder)
    except UserError as error:
        return None, [f"no attention: {error}"]
    return (predictor, []) if predictor.has_attention else (None, [])


def _shown(judged: Judged, path: Path, predictor: Predictor | None) -> Shown:
    try:
        require_file(path)
        image = decode_image(path.read_bytes(), path)
    except (OSError, UserError):
        return Shown(judged, "")
    picture = image.copy()
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    attention = ""
    # predictions.csv may have been edited
    if predictor is not None and judged.predicted in predictor.classnames:
        look = look_of(predictor, image, judged.predicted)
        attention = _data_url(overlay_image(predictor.seen(image), look, THUMBNAIL))
    return Shown(judged, _data_url(picture), attention)


def _data_url(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _provenance(run: Run) -> dict[str, str]:
    r = run.result
    shown: dict[str, Any] = {
        "folder": run.folder,
        "accuracy": f"{r.accuracy:.2f} % ({r.correct} of {r.total})",
        "zero-shot CLIP": f"{r.zero_shot_accuracy:.2f} %",
        "backbone": f"{r.backbone} ({r.backbone_fingerprint[:12]})",
        "prompts": " | ".join(r.templates),
        "few-shot list": r.list_digest.get("train", ""),
        "official split": "yes" if r.comparable else "no",
        "selected on": r.selected_on,
        "chosen": r.search.chosen if r.search else "",
        "trainable parameters": f"{r.trainable_parameters:,}",
        "epochs": r.epochs,
        "seconds": f"{r.seconds.get('total', 0):.1f} on {r.device}",
        "settings": r.config_digest[:12],
        "versions": ", ".join(f"{name} {version}" for name, version in r.versions.items()),
    }
    return {name: str(value) for name, value in shown.items() if value not in ("", None)}
