"""Sum up base-to-new: the accuracy on base and on new classes, and their harmonic mean H."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import fmean, harmonic_mean

from vtclip.errors import UserError, run_command
from vtclip.results import read_result


def accuracies(folder: Path) -> dict[str, float]:
    """Return the accuracy in percent of each seed's folder below `folder`, by its name."""
    return {
        path.parent.name: read_result(path).accuracy
        for path in sorted(folder.glob("seed*/result.json"))
    }


def summary(base: dict[str, float], new: dict[str, float]) -> list[str]:
    """Return one line per seed and one for the means, whose H is computed from the means.

    Raises:
        UserError: no seeds, or not the same ones.
    """
    if not base or base.keys() != new.keys():
        raise UserError(
            f"base has results of {', '.join(base) or 'no seeds'}, new of "
            f"{', '.join(new) or 'no seeds'}; both need the same."
        )
    rows = {seed: (base[seed], new[seed]) for seed in base}
    rows["mean"] = (fmean(base.values()), fmean(new.values()))
    return [
        f"{name}: base {b:.2f}%, new {n:.2f}%, H {harmonic_mean((b, n)):.2f}%"
        for name, (b, n) in rows.items()
    ]


def main() -> None:
    """Parse the command line and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, help="folder of the seeds on base classes")
    parser.add_argument("new", type=Path, help="folder of the seeds on new classes")
    args = parser.parse_args()
    print(*summary(accuracies(args.base), accuracies(args.new)), sep="\n")


if __name__ == "__main__":
    sys.exit(run_command(main))
