"""Train and test a method, with CoOp's arguments.

Without anything else it runs on the embedded default: dataset digits, backbone tiny, 16 shots,
seed 1. `--seeds 1-3` runs several seeds one after the other and prints their mean.
"""

from __future__ import annotations

import argparse
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtclip.checkout import CONFIGS
from vtclip.commands.calls import usage_name
from vtclip.commands.common import CommandLine, add_plugin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtclip.run_config import RunPlan


class ShowHelp(argparse.Action):
    """Print the arguments, then what can be named in them; plug-ins are imported for that."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any
    ) -> None:
        """Print both and exit."""
        from vtclip.command_help import names_and_examples
        from vtclip.errors import run_command

        parser.print_help()
        sys.stdout.flush()

        def show_names() -> None:
            print(f"\n{names_and_examples(namespace.plugin)}")

        parser.exit(run_command(show_names))


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=usage_name("train"), description=__doc__.splitlines()[0], add_help=False
    )
    add = parser.add_argument
    add("-h", "--help", action=ShowHelp, nargs=0, help="show this text and what can be named")
    add("--root", default="", help="data root (default: $DATA, else ./data)")
    add("--output-dir", default="", help="folder of this run (default: below ./output)")
    add("--resume", default="", help="folder of a broken run to go on with")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, help="seed (default: 1)")
    seeds.add_argument("--seeds", type=seed_list, help="several seeds: 1-3, or 1,2,5")
    add("--shots", type=int, help="images per class; -1 for all (DATASET.NUM_SHOTS)")
    add("--transforms", nargs="+", default=(), help="names of the training augmentations")
    of_method = parser.add_mutually_exclusive_group()
    of_method.add_argument("--config-file", default="", help="configuration of the method")
    of_method.add_argument(
        "--recipe", default="", help="name of one that comes with the method, such as tuned"
    )
    add("--dataset-config-file", default="", help="configuration of the dataset")
    add("--trainer", default="", help="name of the method (default: VTCLIP)")
    add("--backbone", default="", help="name of the backbone, or the file of its weights")
    add("--head", default="", help="Dassl's MODEL.HEAD.NAME")
    add("--eval-only", action="store_true", help="evaluate what lies in --model-dir")
    add("--model-dir", default="", help="folder of the run to evaluate (default: its default one)")
    add("--load-epoch", type=int, help="epoch of the checkpoint to evaluate")
    add("--no-train", action="store_true", help="build everything, train nothing")
    add("--dry-run", action="store_true", help="print the folder of the results, run nothing")
    add("--verbose", action="store_true", help="show all lines of log.txt on the screen")
    add_plugin(parser, "trainers, datasets or backbones")
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs that override the configuration")
    return parser.parse_args(argv)


def seed_list(text: str) -> list[int]:
    """Return the seeds of "1-3" or "1,2,5".

    >>> seed_list("1-3"), seed_list("1,5")
    ([1, 2, 3], [1, 5])
    """
    if match := re.fullmatch(r"(\d{1,10})-(\d{1,10})", text):
        first, last = int(match[1]), int(match[2])
        if first <= last < first + 1000:
            return list(range(first, last + 1))
    if re.fullmatch(r"\d{1,10}(,\d{1,10})*", text):
        return [int(part) for part in text.split(",")]
    raise argparse.ArgumentTypeError(f"{text!r} is neither FIRST-LAST nor a list such as 1,2,5")


def run(args: argparse.Namespace) -> None:
    """Do what the arguments ask for.

    Raises:
        UserError: bad input.
    """
    from vtclip.plugins import import_modules

    import_modules(["trainers", "datasets"], args.plugin)
    plan = plan_of(args)
    if args.dry_run:
        check_transfer(plan)
        print(plan.folder)
        return
    for seed in named_seeds(args) or [plan.seed]:
        cfg, model_dir = plan.run(seed, several=args.seeds is not None)
        run_seed(args, cfg, model_dir)
    if args.seeds and not args.no_train:
        from vtclip.tables.logs import END_OF_TEST, END_OF_TRAINING
        from vtclip.tables.summary import summarise

        signal = END_OF_TEST if args.eval_only else END_OF_TRAINING
        print(summarise(str(plan.folder), "accuracy", signal, "std"))
    if not args.no_train:
        show_next(plan, Path(cfg.OUTPUT_DIR))


def named_seeds(args: argparse.Namespace) -> list[int]:
    """Return the seeds that the command line names, none where it leaves them to the plan."""
    return args.seeds or ([] if args.seed is None else [args.seed])


def plan_of(args: argparse.Namespace) -> RunPlan:
    """Return the plan of the run that the arguments describe.

    Raises:
        UserError: a file, key, name or value is wrong.
    """
    from vtclip.run_config import RunArguments, plan_run, recipe_file

    recipe = recipe_file(args.recipe, args.trainer, CONFIGS) if args.recipe else ""
    arguments = RunArguments(
        method_file=recipe or args.config_file,
        dataset_file=args.dataset_config_file,
        trainer=args.trainer,
        backbone=args.backbone,
        dataset_root=args.root,
        head=args.head,
        resume=args.resume,
        output_dir=args.output_dir,
        model_dir=args.model_dir,
        eval_only=args.eval_only,
        shots=args.shots,
        seeds=named_seeds(args),
        transforms=args.transforms,
        options=args.opts,
    )
    return plan_run(arguments, CONFIGS)


def check_transfer(plan: RunPlan) -> None:
    """Refuse a transfer of a method that does not transfer.

    Raises:
        UserError: says why it does not.
    """
    from vtclip.errors import UserError
    from vtclip.method import registered_methods

    cfg = plan.cfg
    obstacle = registered_methods()[cfg.TRAINER.NAME].transfer_obstacle(cfg)
    if cfg.TRAINER.TRANSFER and obstacle:
        raise UserError(f"TRAINER.TRANSFER: {obstacle}")


def run_seed(args: argparse.Namespace, cfg: Any, model_dir: str) -> None:
    """Run one seed: train and test, or evaluate.

    Raises:
        UserError: bad input.
    """
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed

    from vtclip.results import RESULT_FILE
    from vtclip.run_folder import claimed
    from vtclip.run_log import logged
    from vtclip.run_summary import facts, opening
    from vtclip.screen import say, taken_over

    folder = Path(cfg.OUTPUT_DIR)
    with claimed(folder):
        if cfg.SEED >= 0:
            set_random_seed(cfg.SEED)
        # the log of a finished run stays as it is
        finished = (folder / RESULT_FILE).is_file() and not args.eval_only
        screen = taken_over if finished else partial(logged, cfg.OUTPUT_DIR)
        with screen(verbose=args.verbose):
            for line in opening(cfg, model_dir if args.eval_only else ""):
                say(line)
            if not finished:
                print_settings(args, cfg)
            trainer: Any = build_trainer(cfg)
            for line in facts(trainer):
                say(line)
            if args.eval_only:
                trainer.load_model(model_dir, epoch=args.load_epoch)
                trainer.test()
            elif not args.no_train:
                trainer.train()
            if not args.no_train:
                show_result(folder)


def print_settings(args: argparse.Namespace, cfg: Any) -> None:
    """Print, for the log, what decides the run."""
    import torch
    from dassl.utils import collect_env_info

    seeded = "Setting fixed seed" if cfg.SEED >= 0 else "Unseeded, so not to be repeated"
    print(f"{seeded}: {cfg.SEED}")
    if torch.cuda.is_available() and cfg.USE_CUDA:
        torch.backends.cudnn.benchmark = True
    print("** Arguments **", *(f"{k}: {v}" for k, v in sorted(vars(args).items())), sep="\n")
    print(f"** Config **\n{cfg}\n** System info **\n{collect_env_info()}\n")


def show_result(folder: Path) -> None:
    """Say what came of the run in a folder.

    Raises:
        UserError: its result cannot be read.
    """
    from vtclip.results import RESULT_FILE, read_result
    from vtclip.run_summary import ending, is_stand_in, stand_in_warning
    from vtclip.screen import say

    path = folder / RESULT_FILE
    if not path.is_file():
        say("not tested (TEST.NO_TEST)")
        return
    result = read_result(path)
    say(ending(result))
    if is_stand_in(result.backbone, result.dataset):
        say(stand_in_warning(result.method))


def show_next(plan: RunPlan, run_folder: Path) -> None:
    """Print where the results are and what to do with them."""
    from vtclip.run_summary import next_lines

    print(f"results: {plan.folder if plan.folder in run_folder.parents else run_folder}")
    for line in next_lines(run_folder, plan.folder):
        print(line)


main = CommandLine(parse_args, run)
