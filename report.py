"""Pictures of finished runs: `python report.py attention RUN`, and others; see --help."""

from __future__ import annotations

import argparse
import sys

KINDS = {
    "attention": "where the texts of a run look, over images",
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="example: python report.py attention output/oxford_pets/VTCLIP/rn50_16shots/seed1 "
        "--pick won --n 6",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    attention = kinds.add_parser("attention", help=KINDS["attention"])
    _add_run(attention)
    add = attention.add_argument
    add("--image", nargs="+", default=[], metavar="FILE", help="these images, not the test split's")
    add("--split", choices=("test",), default="test", help="the split of the images")
    add("--n", type=_count, default=6, help="images of the split (default: 6)")
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
    add("--head", type=int, help="one head (default: the mean over heads)")
    return parser.parse_args(argv)


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("--out", default="", metavar="FILE", help="without a suffix (default: in RUN)")
    add("--backbone", default="", help="name or weights of the backbone, where they moved")
    add("--root", default="", help="data root, where it moved")
    add("--plugin", action="append", default=[], metavar="MODULE", help="as of train.py")


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) < 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 999")
    return int(text)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = parse_args(argv)
    from vtclip.errors import run_command

    return run_command(lambda: COMMANDS[args.kind](args))


def attention(args: argparse.Namespace) -> None:
    """Draw where the texts of a run look.

    Raises:
        UserError: bad input.
    """
    from vtclip.files import user_path
    from vtclip.predictor import load_predictor
    from vtclip.report.attention import draw_scenes, scenes_of
    from vtclip.report.picking import images_of_run
    from vtclip.report.style import save_figure

    predictor = load_predictor(args.run, backbone=args.backbone, plugins=args.plugin)
    if args.image:
        images, labels = [user_path(text, "--image") for text in args.image], [""] * len(args.image)
    else:
        images, labels = images_of_run(predictor.folder, args.root, args.pick, args.n, args.seed)
    classes = [name.strip() for name in args.classes.split(",") if name.strip()]
    scenes = scenes_of(predictor, images, labels, classes, layer=args.layer, head=args.head)
    heads = "mean over heads" if args.head is None else f"head {args.head}"
    layer = "" if args.layer == -1 else f", layer {args.layer}"
    figure = draw_scenes(scenes, f"attention, {heads}{layer}")
    stem = user_path(args.out, "--out") if args.out else predictor.folder / "attention"
    for path in save_figure(figure, stem):
        print(path)


COMMANDS = {"attention": attention}

if __name__ == "__main__":
    sys.exit(main())
