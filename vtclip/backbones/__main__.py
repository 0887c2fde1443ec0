"""`python -m vtclip.backbones`: list backbones, and check one."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from typing import TYPE_CHECKING

from vtclip.errors import UserError, run_command, unknown_name

if TYPE_CHECKING:
    from torch import Tensor
    from yacs.config import CfgNode

    from vtclip.backbones.base import Backbone
    from vtclip.preprocessing import Transform

DATASET = "Digits"
DEFAULT_IMAGES = 200


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m vtclip.backbones", description="Backbones by name."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    plugins = argparse.ArgumentParser(add_help=False)
    plugins.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="module or file that registers a backbone; may be given several times",
    )
    ls = commands.add_parser("ls", parents=[plugins], help="the names that can be had")
    ls.add_argument(
        "family", nargs="?", default="", metavar="FAMILY", help="open_clip: its published weights"
    )
    check = commands.add_parser(
        "check",
        parents=[plugins],
        help="measure a backbone on digits, and tell what is plainly wrong",
    )
    check.add_argument("name", metavar="NAME", help="as --backbone of train.py takes it")
    check.add_argument("--activation", default="auto", help="quick_gelu, gelu or auto")
    check.add_argument("--precision", default="auto", help="fp32, bf16, fp16 or auto")
    check.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    check.add_argument(
        "--images", type=int, default=DEFAULT_IMAGES, help=f"how many (default: {DEFAULT_IMAGES})"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    Returns:
        1 if something is plainly wrong with the backbone, else 0.
    """
    parsed = parse(arguments)
    # after parsing, so that --help is immediate
    from vtclip.plugins import import_modules

    if parsed.command == "ls":
        import_modules([], parsed.plugin)
        return list_names(parsed.family)
    import_modules(["datasets"], parsed.plugin)
    return check(parsed)


def list_names(family: str) -> int:
    """Print the names of all backbones, or those of a family, one a line."""
    from vtclip.backbones import available_backbones, available_families
    from vtclip.backbones.optional import needs_extra

    if not family:
        print(*available_backbones(), *available_families(), sep="\n")
        return 0
    if family.rstrip(":*") != "open_clip":
        raise unknown_name("FAMILY", family, ["open_clip"])
    with needs_extra(family, "open-clip"):
        from vtclip.backbones.open_clip_source import published_names

        print(*published_names(), sep="\n")
    return 0


def check(parsed: argparse.Namespace) -> int:
    """Print the table of a backbone, or what is plainly wrong with it; see docs/backbones.md.

    Raises:
        UserError: there is no such backbone, or an argument is out of range.
    """
    from itertools import chain

    from tabulate import tabulate

    from vtclip.backbones import build_backbone
    from vtclip.backbones.check import (
        declared_faults,
        image_faults,
        measure,
        table_rows,
        text_faults,
    )
    from vtclip.features import Encoding, resolve_precision
    from vtclip.preprocessing import resolve_preprocessing, transform_of

    if parsed.images < 2:
        raise UserError(f"--images: {parsed.images}; give at least 2.")
    if parsed.device == "cuda" and not _has_cuda():
        raise UserError("--device: cuda is not there; leave it out.")
    backbone = build_backbone(parsed.name, parsed.activation).to(parsed.device)
    light = parsed.precision == "auto" and backbone.is_light
    precision = resolve_precision("fp32" if light else parsed.precision, parsed.device)
    for fault in declared_faults(backbone):
        return _tell(backbone, fault)
    with tempfile.TemporaryDirectory() as root:
        cfg = resolve_preprocessing(_configuration(root), backbone)
        # Dassl prints what it makes
        with contextlib.redirect_stdout(io.StringIO()):
            transform = transform_of(cfg, is_train=False)
            images, labels, prompts = _digits(cfg, transform, parsed.images)
    few = images[:2].to(parsed.device)
    for fault in chain(image_faults(backbone, few), text_faults(backbone, prompts)):
        return _tell(backbone, fault)
    encoding = Encoding(
        backbone,
        transform,
        "check",
        tokens="joint" if "joint" in backbone.token_kinds else "backbone",
        precision=precision,
    )
    try:
        measured = measure(encoding, images, labels, prompts)
    except FloatingPointError as error:
        return _tell(backbone, str(error))
    print(tabulate(table_rows(encoding, measured, len(prompts)), tablefmt="plain"))
    return 0


def _tell(backbone: Backbone, fault: str) -> int:
    print(f"error: backbone {backbone.name}: {fault}.", file=sys.stderr)
    return 1


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _configuration(root: str) -> CfgNode:
    from dassl.config import get_cfg_default

    from vtclip.config import extend_cfg

    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.DATASET.ROOT, cfg.DATASET.NAME, cfg.DATASET.NUM_SHOTS = root, DATASET, 1
    cfg.INPUT.TRANSFORMS = ("normalize",)
    return cfg


def _digits(cfg: CfgNode, transform: Transform, count: int) -> tuple[Tensor, Tensor, list[str]]:
    """Return test images [N, 3, H, W] of all classes in turn, labels [N], a prompt per class."""
    import torch
    from dassl.data.datasets import DATASET_REGISTRY
    from PIL import Image

    from vtclip.prompts import fill

    dataset = DATASET_REGISTRY.get(DATASET)(cfg)
    items = list(dataset.test)
    # evenly spaced, since they are in the order of classes
    chosen = [
        items[i * len(items) // min(count, len(items))] for i in range(min(count, len(items)))
    ]
    images = []
    for item in chosen:
        with Image.open(item.impath) as image:
            images.append(transform(image.convert("RGB")))
    labels = torch.tensor([item.label for item in chosen])
    return torch.stack(images), labels, fill(dataset.template, dataset.classnames)


if __name__ == "__main__":
    sys.exit(run_command(main))
