"""Results of finished runs: mean and deviation over seeds, or benchmark tables of many runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vtclip.commands.calls import how_to_call, usage_name
from vtclip.commands.common import CommandLine
from vtclip.errors import UserError

USES = """
A folder of seeds (seed1/, seed2/ ...), as a run with several seeds leaves it:

    {call} output/oxford_pets/VTCLIP/rn50_16shots

For a folder of such folders add --multi-exp. For runs with --eval-only add --test-log.
For tables of every result.json below a folder, one for each backbone, add --table.
"""
EXAMPLES = """examples of tables:
  for a paper, published rows of two methods beside:
    {call} output --table --format latex --published Tip-Adapter,CoOp
  all published rows of one source, and each source of CoOp:
    {call} output --table --published "APE_results,CoOp,all"
  figures of your own file, with the columns method,backbone,dataset,shots,accuracy,source:
    {call} output --table --published mine.csv
  with what the runs cost:
    {call} output --table --columns seeds,seconds,parameters
  one record per cell, in full precision:
    {call} output --table --format csv > results.csv
"""
FORMATS = ("text", "markdown", "latex", "csv", "json")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    call = how_to_call("tables")
    parser = argparse.ArgumentParser(
        prog=usage_name("tables"),
        description=f"{__doc__}\n{USES.format(call=call)}",
        epilog=EXAMPLES.format(call=call),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", help="folder of results")
    parser.add_argument(
        "--ci95", action="store_true", help="print the 95 %% interval, not the deviation"
    )
    parser.add_argument(
        "--keyword",
        "--metrics",
        default="accuracy",
        help="accuracy (default), macro_f1, error, ece, nll, or ece_scaled and nll_scaled at the "
        "temperature fitted on validation; several with commas: accuracy,ece,nll",
    )
    seeds = parser.add_argument_group("folders of seeds")
    seeds.add_argument("--multi-exp", action="store_true", help="several folders of seeds")
    seeds.add_argument("--test-log", action="store_true", help="logs of tests without training")
    table = parser.add_argument_group("benchmark table")
    table.add_argument(
        "--table",
        action="store_true",
        help="tables of all results below the folder, one for each backbone; own photos, "
        "base and new classes, and models evaluated elsewhere stand apart",
    )
    table.add_argument(
        "--rows", choices=("methods", "shots"), help="what the rows are (default: methods)"
    )
    table.add_argument(
        "--format", choices=FORMATS, help="text (default); csv and json have one record per cell"
    )
    table.add_argument(
        "--columns",
        metavar="NAMES",
        help="columns beside the values: any of seeds,seconds,parameters, or none (default: seeds)",
    )
    table.add_argument(
        "--published",
        nargs="?",
        const="",
        metavar="NAMES",
        help="add published results of the same backbone and shots, one row per method: any, or "
        "with commas METHOD, or a text within the source; all: a row for each source; FILE.csv: "
        "from this file instead",
    )
    table.add_argument(
        "--mix",
        action="store_true",
        help="show runs that differ in one table, and list the differences",
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Print the result.

    Raises:
        UserError: the arguments do not go together, or no result was found.
    """
    interval = "ci95" if args.ci95 else "std"
    if args.table:
        _refuse(args, ("multi_exp", "test_log"), "--table reads result.json files alone")
        _print_table(args, interval)
        return
    _refuse(args, ("rows", "format", "columns", "published", "mix"), "add --table")
    from vtclip.tables.logs import END_OF_TEST, END_OF_TRAINING
    from vtclip.tables.summary import summarise, summarise_all

    signal = END_OF_TEST if args.test_log else END_OF_TRAINING
    summary = summarise_all if args.multi_exp else summarise
    print(summary(args.directory, args.keyword, signal, interval))


def _print_table(args: argparse.Namespace, interval: str) -> None:
    from vtclip.tables.benchmark_table import load_tables
    from vtclip.tables.layout import DEFAULT_COLUMNS, columns_of
    from vtclip.tables.metrics import keywords_of
    from vtclip.tables.published import wanted_of
    from vtclip.tables.render import all_footnotes, render_all

    published = None if args.published is None else wanted_of(args.published)
    keywords = keywords_of(args.keyword)
    output_format = args.format or "text"
    if args.columns is not None and output_format in ("csv", "json"):
        raise UserError(f"--columns: {output_format} has all of them; leave --columns out.")
    columns = DEFAULT_COLUMNS if args.columns is None else columns_of(args.columns)
    data = load_tables(Path(args.directory), keywords, interval, published, args.mix)
    print(render_all(data, output_format, args.rows or "methods", columns))
    if output_format == "csv":  # notes are not CSV
        for line in all_footnotes(data):
            print(line, file=sys.stderr)
    else:
        for line in all_footnotes(data):
            if line.startswith("warning: "):  # seen even where the table goes to a file
                print(line, file=sys.stderr)


def _refuse(args: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    given = [name for name in names if getattr(args, name) not in (None, False)]
    if given:
        raise UserError(f"--{given[0].replace('_', '-')}: {reason}.")


main = CommandLine(parse_args, run)
