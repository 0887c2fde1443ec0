"""Pictures and a page of finished runs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from vtclip.commands.calls import how_to_call, usage_name
from vtclip.commands.common import CommandLine, add_backbone, add_plugin, counts_up_to

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from vtclip.predictions import Judged

PLUGINS = "the methods or backbones of the runs"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    run = "output/oxford_pets/VTCLIP/rn50_16shots/seed1"
    call = how_to_call("report")
    parser = argparse.ArgumentParser(
        prog=usage_name("report"),
        description=__doc__.splitlines()[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"examples:\n  {call} attention {run} --pick won\n"
        f"  {call} curves output --published",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_attention(kinds.add_parser("attention", help="where the texts of a run look"))
    _add_curves(kinds.add_parser("curves", help="accuracy against shots, of all runs in a folder"))
    for kind, help_text in (
        ("confusion", "which classes a run takes for which"),
        ("classes", "gain over zero-shot CLIP, class by class"),
        ("reliability", "accuracy against confidence"),
    ):
        _add_run(kinds.add_parser(kind, help=help_text))
    texts = kinds.add_parser("texts", help="where the texts move, in one projection")
    _add_run(texts)
    _add_where_data_is(texts)
    _add_html(kinds.add_parser("html", help="one self-contained page of all runs in a folder"))
    return parser.parse_args(argv)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    _add_out(parser, "RUN")


def _add_out(parser: argparse.ArgumentParser, folder: str) -> None:
    help_text = f"path of the pictures without a suffix (default: in {folder})"
    parser.add_argument("--out", default="", metavar="FILE", help=help_text)


def _add_where_data_is(parser: argparse.ArgumentParser) -> None:
    add_backbone(parser)
    parser.add_argument("--root", default="", help="data root, where it moved")
    add_plugin(parser, PLUGINS)


def _add_attention(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_where_data_is(parser)
    add = parser.add_argument
    add("--image", nargs="+", default=[], metavar="FILE", help="these images, not the test split's")
    add("--split", choices=("test",), default="test", help="the split of the images")
    add("--n", type=counts_up_to(999), default=6, help="images of the split (default: 6)")
    add(
        "--pick",
        choices=("random", "fixed", "lost", "won"),
        default="fixed",
        help="fixed: evenly spaced in the list; random: by --seed; won or lost: images that only "
        "the run, or only zero-shot CLIP, classifies correctly (default: fixed)",
    )
    add("--seed", type=int, default=1, help="of --pick random (default: 1)")
    add("--classes", default="", metavar="A,B", help="whose texts (default: true class and rival)")
    add("--layer", type=int, default=-1, help="cross-attention, from 0 (default: the last one)")
    add("--head", type=int, help="one head, from 0 (default: the mean over heads)")


def _add_curves(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="folder with results anywhere below it")
    _add_out(parser, "DIR")
    add = parser.add_argument
    add("--keyword", default="accuracy", help="as of the tables (default: accuracy)")
    add(
        "--published",
        nargs="?",
        const="",
        metavar="NAMES",
        help="published figures, dashed; NAMES as of the tables",
    )
    add("--mix", action="store_true", help="also runs that differ in what should agree")


def _add_html(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", metavar="DIR", help="folder with results anywhere below it")
    add("--out", default="report.html", metavar="FILE", help="default: report.html")
    add("--images", type=counts_up_to(999), default=6, help="per gallery of a run (default: 6)")
    add("--details", type=counts_up_to(999), default=12, help="runs shown in detail (default: 12)")
    add("--root", default="", help="data root, where it moved")
    add_plugin(parser, PLUGINS)
    add("--mix", action="store_true", help="also runs that differ in what should agree")


def run(args: argparse.Namespace) -> None:
    """Draw what is asked for.

    Raises:
        UserError: bad input, or the packages that draw are not installed.
    """
    from vtclip.extras import require

    require("plots", args.kind, ["matplotlib", "jinja2"])
    COMMANDS[args.kind](args)


def attention(args: argparse.Namespace) -> None:
    """Draw where the texts of a run look.

    Raises:
        UserError: bad input.
    """
    from vtclip.files import user_path
    from vtclip.predictor import load_predictor
    from vtclip.report.attention import draw_scenes, scenes_of
    from vtclip.report.picking import images_of_run

    predictor = load_predictor(args.run, backbone=args.backbone, plugins=args.plugin)
    if args.image:
        images, labels = [user_path(text, "--image") for text in args.image], [""] * len(args.image)
    else:
        images, labels = images_of_run(predictor.folder, args.root, args.pick, args.n, args.seed)
    classes = [name.strip() for name in args.classes.split(",") if name.strip()]
    scenes = scenes_of(predictor, images, labels, classes, layer=args.layer, head=args.head)
    heads = "mean over heads" if args.head is None else f"head {args.head}"
    layer = "" if args.layer == -1 else f", layer {args.layer}"
    _save(args, draw_scenes(scenes, f"attention, {heads}{layer}"), predictor.folder)


def curves(args: argparse.Namespace) -> None:
    """Draw accuracy against shots.

    Raises:
        UserError: bad input.
    """
    from dataclasses import replace

    from vtclip.errors import UserError
    from vtclip.files import user_path
    from vtclip.report.curves import draw_curves, zero_shot_cells
    from vtclip.tables.benchmark_table import load_results
    from vtclip.tables.published import wanted_of

    folder = user_path(args.folder, "DIR")
    published = None if args.published is None else wanted_of(args.published)
    data = load_results(folder, args.keyword, published=published, mix=args.mix)
    if published and published.texts and not any(cell.row.source for cell in data.cells):
        raise UserError(f"--published {args.published}: no published figure of that name here.")
    if args.keyword == "accuracy" and all(cell.shots for cell in data.cells):
        data = replace(data, cells=[*data.cells, *zero_shot_cells(data.runs)])
    for line in data.warnings:
        print(f"warning: {line}", file=sys.stderr)
    _save(args, draw_curves(data), folder)


def confusion(args: argparse.Namespace) -> None:
    """Draw which classes a run takes for which.

    Raises:
        UserError: bad input.
    """
    from vtclip.report.confusion import draw_confusion

    _of_predictions(args, draw_confusion)


def classes(args: argparse.Namespace) -> None:
    """Draw the gain over zero-shot CLIP, class by class.

    Raises:
        UserError: bad input.
    """
    from vtclip.report.classes import draw_class_gains

    _of_predictions(args, draw_class_gains)


def reliability(args: argparse.Namespace) -> None:
    """Draw accuracy against confidence.

    Raises:
        UserError: bad input.
    """
    from vtclip.report.reliability import draw_reliability

    _of_predictions(args, draw_reliability)


def texts(args: argparse.Namespace) -> None:
    """Draw where the texts move.

    Raises:
        UserError: bad input.
    """
    from vtclip.predictor import load_predictor
    from vtclip.report.picking import all_images_of_run, title_of_run
    from vtclip.report.texts import draw_movement, mean_texts, project

    predictor = load_predictor(args.run, backbone=args.backbone, plugins=args.plugin)
    images, labels = all_images_of_run(predictor.folder, args.root)
    moved = project(predictor.trainer.text_features.cpu(), mean_texts(predictor, images, labels))
    title = title_of_run(predictor.folder)
    _save(args, draw_movement(moved, predictor.classnames, title), predictor.folder)


def html(args: argparse.Namespace) -> None:
    """Write one page about all runs in a folder.

    Raises:
        UserError: bad input.
    """
    from vtclip.files import user_path, write_text
    from vtclip.plugins import import_modules
    from vtclip.report.page import build_page

    import_modules(["trainers"], args.plugin)
    folder = user_path(args.folder, "DIR")
    page = build_page(
        folder, images=args.images, runs_in_detail=args.details, root=args.root, mix=args.mix
    )
    target = user_path(args.out, "--out")
    write_text(target, page)
    print(target)


def _of_predictions(
    args: argparse.Namespace, draw: Callable[[Sequence[Judged], str], Figure]
) -> None:
    from vtclip.files import user_path
    from vtclip.predictions import read_predictions
    from vtclip.report.picking import title_of_run
    from vtclip.saved_model import find_run

    folder = find_run(user_path(args.run, "RUN"))
    _save(args, draw(read_predictions(folder), title_of_run(folder)), folder)


def _save(args: argparse.Namespace, figure: Figure, folder: Path) -> None:
    from vtclip.files import user_path
    from vtclip.report.style import save_figure

    stem = user_path(args.out, "--out") if args.out else folder / args.kind
    for path in save_figure(figure, stem):
        print(path)


COMMANDS = {
    "attention": attention,
    "classes": classes,
    "confusion": confusion,
    "curves": curves,
    "html": html,
    "reliability": reliability,
    "texts": texts,
}

main = CommandLine(parse_args, run)
