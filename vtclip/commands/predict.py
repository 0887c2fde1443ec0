"""Classify images with a finished run.

RUN is the folder of a trained run, wherever it was moved to. Of a folder of images all images
below it are taken. A file that cannot be read is named on standard error and left out; the exit
code is then 1.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from vtclip.commands.calls import how_to_call, usage_name
from vtclip.commands.common import CommandLine, add_backbone, add_plugin, counts_up_to

if TYPE_CHECKING:
    from collections.abc import Sequence


MANY = 999_999


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=usage_name("predict"),
        description=__doc__.splitlines()[0],
        epilog=f"example: {how_to_call('predict')} output/oxford_pets/VTCLIP/rn50_16shots/seed1 "
        "my_photos --format csv > predictions.csv",
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("images", metavar="IMAGE|FOLDER", nargs="+", help="images, or folders of them")
    add("--top", type=counts_up_to(MANY), default=5, help="classes per image (default: 5)")
    add("--format", choices=("text", "csv", "json"), default="text", help="default: text")
    add("--overlay", default="", metavar="DIR", help="draw where the texts look, one PNG per image")
    add_backbone(parser)
    add("--device", choices=("cpu", "cuda"), default="", help="default: cuda where there is one")
    add(
        "--batch-size",
        type=counts_up_to(MANY),
        default=64,
        help="images encoded at once (default: 64)",
    )
    add_plugin(parser, "the method or backbone of the run")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Print the classes of all images; return 1 where a file was left out.

    Raises:
        UserError: bad input.
    """
    import os

    from tqdm import tqdm

    from datasets.listing import named_images
    from vtclip.errors import UserError
    from vtclip.extras import require
    from vtclip.prediction_formats import PRINTERS, read_rows
    from vtclip.predictor import load_predictor

    if args.overlay:
        require("plots", "--overlay", ["matplotlib"])
    paths = named_images(args.images)
    predictor = load_predictor(
        args.run, backbone=args.backbone, device=args.device, plugins=args.plugin
    )
    # a few images are read in less time than worker processes take to start
    workers = min(8, os.cpu_count() or 1) if len(paths) > 4 * args.batch_size else 0
    found = predictor.stream(paths, args.top, batch_size=args.batch_size, workers=workers)
    refused: list[UserError] = []
    rows = read_rows(paths, tqdm(found, total=len(paths), disable=None, desc="images"), refused)
    if args.overlay:
        from vtclip.report.overlay import with_overlays

        rows = with_overlays(predictor, rows, args.overlay)
    PRINTERS[args.format](rows, sys.stdout)
    for error in refused:
        print(f"left out: {error}", file=sys.stderr)
    if refused:
        print(f"{len(refused)} of {len(paths)} files were left out", file=sys.stderr)
    return 1 if refused else 0


main = CommandLine(parse_args, run)
