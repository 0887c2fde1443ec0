"""Export a finished run: `python export.py RUN --onnx FILE` or `--folder DIR`.

FILE is one ONNX graph of head and texts, from features to logits; --with-backbone puts the image
encoder before it. DIR is a new folder for a model hub: weights as safetensors, classes, model card.
"""

from __future__ import annotations

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="example: python export.py output/oxford_pets/VTCLIP/rn50_16shots/seed1 "
        "--onnx pets.onnx --with-backbone",
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("--onnx", default="", metavar="FILE", help="write an ONNX graph (needs the extra [onnx])")
    add("--with-backbone", action="store_true", help="from images, not from features")
    add("--folder", default="", metavar="DIR", help="write a new folder for a model hub")
    add("--backbone", default="", help="name or weights of the backbone, where they moved")
    add(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that registers the method or backbone of the run (repeatable)",
    )
    args = parser.parse_args(argv)
    if not args.onnx and not args.folder:
        parser.error("nothing to write: give --onnx FILE, --folder DIR or both")
    if args.with_backbone and not args.onnx:
        parser.error("--with-backbone: is for --onnx FILE")
    if args.onnx and not args.onnx.endswith(".onnx"):
        parser.error(f"--onnx: {args.onnx!r} does not end in .onnx")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = parse_args(argv)
    from vtclip.errors import run_command

    return run_command(lambda: run(args))


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


if __name__ == "__main__":
    sys.exit(main())
