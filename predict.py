"""Classify images with a finished run: `python predict.py RUN IMAGE|FOLDER ...`.

RUN is the folder of a run of train.py, wherever it was moved to. Of a folder of images all images
below it are taken. A file that cannot be read is named on standard error and left out; the exit
code is then 1.
"""

from __future__ import annotations

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="example: python predict.py output/oxford_pets/VTCLIP/rn50_16shots/seed1 my_photos "
        "--format csv > predictions.csv",
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("images", metavar="IMAGE|FOLDER", nargs="+", help="images, or folders of them")
    add("--top", type=_count, default=5, help="classes per image (default: 5)")
    add("--format", choices=("text", "csv", "json"), default="text", help="default: text")
    add("--overlay", default="", metavar="DIR", help="draw where the texts look, one PNG per image")
    add("--backbone", default="", help="name or weights of the backbone, where they moved")
    add("--device", choices=("cpu", "cuda"), default="", help="default: cuda where there is one")
    add("--batch-size", type=_count, default=64, help="images encoded at once (default: 64)")
    add(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that registers the method or backbone of the run (repeatable)",
    )
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) < 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = parse_args(argv)
    from vtclip.errors import run_command

    return run_command(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Print the classes of all images; return 1 where a file was left out.

    Raises:
        UserError: bad input.
    """
    import os

    from tqdm import tqdm

    from datasets.listing import named_images
    from vtclip.errors import UserError
    from vtclip.prediction_formats import PRINTERS, read_rows
    from vtclip.predictor import load_predictor

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


if __name__ == "__main__":
    sys.exit(main())
