"""Run many methods on many datasets with several shots and seeds, each run as by train.py.

Runs that have a result are left out, so the same command goes on after a break.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtclip.checkout import CONFIGS, ROOT
from vtclip.commands.calls import how_to_call, usage_name
from vtclip.commands.common import CommandLine, add_plugin

if TYPE_CHECKING:
    from vtclip.sweep.conduct import Sweep
    from vtclip.sweep.engines import Engine, Resources
    from vtclip.sweep.options import SweepOptions

EXAMPLES = """examples:
  {call} --methods ZeroshotCLIP,TipAdapter --datasets digits --shots 1,2 --seeds 1-2
  {call} --methods VTCLIP,TipAdapterF --datasets all --backbone rn50 --root data
  {call} benchmark.yaml --only 3/8
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=usage_name("sweep"),
        description=__doc__.splitlines()[0],
        epilog=EXAMPLES.format(call=how_to_call("sweep")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("file", nargs="?", default="", help="YAML file with METHODS, DATASETS, SHOTS and so on")
    add("--methods", help="names, or configuration files of methods, with commas")
    add("--datasets", help="all (CoOp's eleven), names, or configuration files, with commas")
    add("--shots", help="images per class: 1,2,4 (default: 1,2,4,8,16); -1 for all")
    add("--seeds", help="1-3 (the default), or 1,2,5")
    add("--backbone", help="name of the backbone, or the file of its weights")
    add("--root", help="data root (default: $DATA, else ./data)")
    add_plugin(parser, "trainers, datasets or backbones")
    add(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="value of a configuration key, for every run (repeatable)",
    )
    add("--only", default="", metavar="I/N", help="the I-th of N slices of the runs")
    add("--dry-run", action="store_true", help="print what would run, and run nothing")
    add("--record", default="output/sweep.json", help="file of what became of each run")
    engine = parser.add_argument_group("where it runs")
    add = engine.add_argument
    add("--engine", choices=("local", "ray"), default="local", help="this machine, or a cluster")
    add("--workers", type=int, default=0, help="runs side by side (default: what fits)")
    add(
        "--cpus",
        type=int,
        help="cores, and threads, of a run (default: 1; with --workers, its part of this machine)",
    )
    add("--gpus", type=float, help="share of a GPU for a run, above 0 to 1; 0: none")
    add("--memory", type=float, default=0.0, metavar="GB", help="memory of a run")
    add("--timeout", type=float, default=0.0, metavar="SECONDS", help="end a run after this time")
    add("--retries", type=int, default=2, help="of a run whose process was killed (default: 2)")
    add("--address", default="auto", help="of a Ray cluster: auto, local, or HOST:PORT")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Plan, carry out, and show the tables.

    Raises:
        UserError: bad input.
    """
    from vtclip.plugins import import_modules
    from vtclip.sweep.conduct import Sweep, failure_lines
    from vtclip.sweep.plan import plan_sweep, slice_of
    from vtclip.sweep.record import SweepRecord

    options = options_of(args)
    import_modules(["trainers", "datasets"], options.plugins)
    resources = resources_of(args)
    plan = plan_sweep(options, CONFIGS)
    runs = slice_of(plan.runs, args.only) if args.only else plan.runs
    for note in plan.notes:
        print(note, file=sys.stderr)
    sweep = Sweep(runs, SweepRecord(Path(args.record)), how_to_call("train"))
    if args.dry_run:
        show_plan(sweep)
        return 0
    engine, workers = engine_of(args, resources)
    print(f"{sweep.summary()}; {workers} side by side; {args.record} keeps the record")
    sweep.carry_out(engine, workers)
    print(sweep.summary())
    show_results(sweep)
    failures = sweep.failures()
    for line in failure_lines(failures):
        print(line, file=sys.stderr)
    return 1 if failures else 0


def options_of(args: argparse.Namespace) -> SweepOptions:
    """Return what the file and the options ask for; an option takes the place of the file's.

    Raises:
        UserError: a file or a value is wrong.
    """
    from dataclasses import replace

    from vtclip.files import user_path
    from vtclip.sweep.options import (
        SweepOptions,
        name_list,
        number_list,
        read_sweep_file,
        settings_of,
    )

    found = SweepOptions()
    if args.file:
        found = read_sweep_file(user_path(args.file, "the file of a sweep"))
    given: dict[str, Any] = {
        name: value
        for name in ("methods", "datasets", "shots", "seeds", "backbone", "root")
        if (value := getattr(args, name)) is not None
    }
    for name in given.keys() & {"methods", "datasets"}:
        given[name] = name_list(given[name])
    for name in given.keys() & {"shots", "seeds"}:
        given[name] = number_list(given[name], f"--{name}")
    settings = {**(found.settings or {}), **settings_of(args.settings)}
    plugins = (*found.plugins, *args.plugin)
    return replace(found, **given, plugins=plugins, settings=settings)


def resources_of(args: argparse.Namespace) -> Resources:
    """Return what a run may use.

    Raises:
        UserError: a number is out of range.
    """
    from vtclip.errors import UserError
    from vtclip.sweep.engines import Resources
    from vtclip.sweep.local import own_cores

    for name, low in (("workers", 0), ("cpus", 1), ("memory", 0), ("timeout", 0), ("retries", 0)):
        value = getattr(args, name)
        if value is not None and not low <= value < 1e9:
            raise UserError(f"--{name}: {value:g} is out of range; it goes from {low}.")
    if args.gpus is not None and not 0 <= args.gpus <= 1:
        raise UserError(f"--gpus: {args.gpus:g} is out of range; a run uses one GPU or a share.")
    cpus = args.cpus
    if cpus is None:
        shared = args.workers and args.engine == "local"
        cpus = max(1, own_cores() // args.workers) if shared else 1
    return Resources(cpus, args.gpus, args.memory, args.timeout, args.retries)


def engine_of(args: argparse.Namespace, resources: Resources) -> tuple[Engine, int]:
    """Return the engine, and how many runs it carries out side by side.

    Raises:
        UserError: it is not installed, or the resources are not there.
    """
    if args.engine == "ray":
        from vtclip.sweep.ray_engine import ray_engine

        return ray_engine(ROOT, resources, args.workers, args.address)
    from vtclip.sweep.local import local_engine

    return local_engine(ROOT, resources, args.workers)


def show_plan(sweep: Sweep) -> None:
    """Print a line per run: its state and its command."""
    for record in sweep.runs.values():
        print(f"{'has a result' if record.state == 'skipped' else 'to run'}: {record.command}")
    print(sweep.summary())


def show_results(sweep: Sweep) -> None:
    """Print the tables of the runs, and the commands that go on from there."""
    from vtclip.sweep.outcome import common_folder, tables_text

    folders = sweep.folders_with_results()
    if not folders:
        return
    print(tables_text(folders))
    where = shlex.quote(str(common_folder(folders)))
    print(f"tables: {how_to_call('tables')} {where} --table")
    print(f"report: {how_to_call('report')} html {where}")


main = CommandLine(parse_args, run)
