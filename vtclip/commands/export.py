"""Export a finished run, with `--onnx FILE`, `--folder DIR` or both.

FILE is one ONNX graph of head and texts, from features to logits; --with-backbone puts the image
encoder before it. DIR is a new folder for a model hub: weights as safetensors, classes, model card.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vtclip.commands.calls import how_to_call, usage_name
from vtclip.commands.common import CommandLine, add_backbone, add_plugin

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=usage_name("export"),
        description=__doc__.splitlines()[0],
        epilog=f"example: {how_to_call('export')} output/oxford_pets/VTCLIP/rn50_16shots/seed1 "
        "--onnx pets.onnx --with-backbone",
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("--onnx", default="", metavar="FILE", help="write an ONNX graph (needs the extra [onnx])")
    add("--with-backbone", action="store_true", help="from images, not from features")
    add("--folder", default="", metavar="DIR", help="write a new folder for a model hub")
    add_backbone(parser)
    add_plugin(parser, "the method or backbone of the run")
    args = parser.parse_args(argv)
    if not args.onnx and not args.folder:
        parser.error("nothing to write: give --onnx FILE, --folder DIR or both")
    if args.with_backbone and not args.onnx:
        parser.error("--with-backbone: is for --onnx FILE")
    if args.onnx and not args.onnx.endswith(".onnx"):
        parser.error(f"--onnx: {args.onnx!r} does not end in .onnx")
    return args


def run(args: argparse.Namespace) -> None:
    """Write what is asked for.

    Raises:
        UserError: bad input.
    """
    from vtclip.export import check_new_folder, export_onnx, require_onnx, write_folder
    from vtclip.files import user_path
    from vtclip.predictor import restore_trainer

    file, folder = user_path(args.onnx, "--onnx"), user_path(args.folder, "--folder")
    if args.onnx:
        require_onnx()
    if args.folder:
        check_new_folder(folder)
    restored = restore_trainer(args.run, backbone=args.backbone, plugins=args.plugin)
    if args.folder:
        write_folder(restored, folder)
        print(f"{folder}: written; README.md has a place for the licence")
    if args.onnx:
        difference = export_onnx(restored, file, with_backbone=args.with_backbone)
        print(f"{file}: written; its logits differ from PyTorch's by {difference:.1e} at most")


main = CommandLine(parse_args, run)
