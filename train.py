"""Train and test a method: `python train.py --trainer VTCLIP`, with CoOp's arguments.

Without configuration files it runs on the embedded default: dataset digits, backbone tiny,
16 shots, seed 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--root", default="", help="data root (default: $DATA, else ./data)")
    add("--output-dir", default="", help="folder of this run (default: below ./output)")
    add("--resume", default="", help="folder of a broken run to go on with")
    add("--seed", type=int, help="seed (default: 1)")
    add("--transforms", nargs="+", help="names of the training augmentations")
    add("--config-file", default="", help="configuration of the method")
    add("--dataset-config-file", default="", help="configuration of the dataset")
    add("--trainer", default="", help="name of the method (default: VTCLIP)")
    add("--backbone", default="", help="name of the backbone, or the file of its weights")
    add("--head", default="", help="Dassl's MODEL.HEAD.NAME")
    add("--eval-only", action="store_true", help="evaluate the checkpoint in --model-dir")
    add("--model-dir", default="", help="folder of the run to evaluate")
    add("--load-epoch", type=int, help="epoch of the checkpoint to evaluate")
    add("--no-train", action="store_true", help="build everything, train nothing")
    add(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that registers trainers, datasets or backbones (repeatable)",
    )
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs that override the configuration")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = parse_args(argv)
    from vtclip.errors import run_command

    return run_command(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Do what the arguments ask for.

    Raises:
        UserError: bad input.
    """
    import_modules(["trainers", "datasets", *args.plugin])
    cfg = build_cfg(args)
    check_output(Path(cfg.OUTPUT_DIR))

    import torch
    from dassl.engine import build_trainer
    from dassl.utils import collect_env_info, set_random_seed, setup_logger

    if cfg.SEED >= 0:
        print(f"Setting fixed seed: {cfg.SEED}")
        set_random_seed(cfg.SEED)
    setup_logger(cfg.OUTPUT_DIR)
    if torch.cuda.is_available() and cfg.USE_CUDA:
        torch.backends.cudnn.benchmark = True
    print("** Arguments **", *(f"{k}: {v}" for k, v in sorted(vars(args).items())), sep="\n")
    print(f"** Config **\n{cfg}\n** System info **\n{collect_env_info()}\n")

    trainer = build_trainer(cfg)
    if args.eval_only:
        trainer.load_model(args.model_dir, epoch=args.load_epoch)
        trainer.test()
    elif not args.no_train:
        trainer.train()


def import_modules(names: list[str]) -> None:
    """Import what registers trainers, datasets and backbones.

    Raises:
        UserError: Dassl or a plug-in is not installed.
    """
    from importlib import import_module

    from vtclip.errors import UserError

    sys.path.append(str(Path.cwd()))  # where a user keeps a plug-in of their own
    for name in names:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name and error.name.split(".")[0] == "dassl":
                raise UserError(
                    "dassl: not installed; run `pip install ./toolkit`, or install Dassl.pytorch."
                ) from error
            if error.name == name:
                raise UserError(f"--plugin {name}: no such module.") from error
            raise


def build_cfg(args: argparse.Namespace) -> Any:
    """Return the frozen configuration: defaults, method, dataset, arguments, KEY VALUE pairs.

    Raises:
        UserError: a file, key, name or value is wrong.
    """
    from dassl.config import get_cfg_default
    from dassl.data.datasets import DATASET_REGISTRY
    from dassl.engine import TRAINER_REGISTRY

    from vtclip import config
    from vtclip.backbones import check_backbone
    from vtclip.errors import unknown_name

    cfg = get_cfg_default()
    config.extend_cfg(cfg)
    trainer = args.trainer or "VTCLIP"
    trainers = TRAINER_REGISTRY.registered_names()
    if trainer not in trainers:
        raise unknown_name("--trainer", trainer, trainers)

    # a run that names nothing is the embedded default, and every run has a seed
    if not args.dataset_config_file:
        cfg.DATASET.NUM_SHOTS = 16
    cfg.SEED = 1
    dataset_file = args.dataset_config_file or HERE / "configs" / "datasets" / "digits.yaml"
    method_file = args.config_file or config.default_method_file(
        HERE / "configs" / "trainers", trainer, args.backbone
    )
    if method_file is not None:
        config.merge_file(cfg, Path(method_file))
    # last, for a dataset may know better which augmentations keep its labels
    config.merge_file(cfg, Path(dataset_file))

    cfg.TRAINER.NAME = trainer
    cfg.DATASET.ROOT = args.root or cfg.DATASET.ROOT or os.environ.get("DATA", "data")
    if args.seed is not None:
        cfg.SEED = args.seed
    if args.resume:
        cfg.RESUME = args.resume
    if args.transforms:
        cfg.INPUT.TRANSFORMS = tuple(args.transforms)
    if args.backbone:
        cfg.MODEL.BACKBONE.NAME = args.backbone
    if args.head:
        cfg.MODEL.HEAD.NAME = args.head
    config.merge_options(cfg, args.opts)
    config.check_cfg(cfg)
    check_backbone(cfg.MODEL.BACKBONE.NAME)
    if cfg.DATASET.NAME not in DATASET_REGISTRY.registered_names():
        raise unknown_name("DATASET.NAME", cfg.DATASET.NAME, DATASET_REGISTRY.registered_names())

    if cfg.MODEL.BACKBONE.NAME == "tiny" and cfg.DATASET.NAME != "Digits" and not args.config_file:
        print(
            "note: backbone tiny is a small model for demonstrations; for results that count, name "
            "one of CLIP's, such as --backbone RN50.",
            file=sys.stderr,
        )
    if args.output_dir:
        cfg.OUTPUT_DIR = args.output_dir
    elif args.resume:
        cfg.OUTPUT_DIR = args.resume
    elif cfg.OUTPUT_DIR == "./output":
        # as scripts/*/main.sh lay it out
        experiment = f"{Path(method_file).stem if method_file else 'default'}"
        experiment += f"_{cfg.DATASET.NUM_SHOTS}shots"
        folder = Path("output", Path(dataset_file).stem, trainer, experiment, f"seed{cfg.SEED}")
        cfg.OUTPUT_DIR = str(folder / "evaluation" if args.eval_only else folder)
    cfg.freeze()
    return cfg


def check_output(folder: Path) -> None:
    """Make the output folder, and see that it can be written.

    Raises:
        UserError: it cannot.
    """
    from vtclip.files import atomic_path

    with atomic_path(folder / ".writable"):
        pass
    (folder / ".writable").unlink()


if __name__ == "__main__":
    sys.exit(main())
