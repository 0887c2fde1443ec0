"""The accuracy of VT-CLIP under other schedules, on all validation images of a dataset.

    python -m benchmarks.schedules
    python -m benchmarks.schedules --name caltech101 --seeds 1 --shots 1 4 -- ARGUMENTS

The ARGUMENTS are those of train.py that name dataset and backbone. A schedule is near the paper's
where its mean over seeds is at most one deviation over seeds below.
"""

from __future__ import annotations

import sys

from benchmarks.validated import report
from vtclip.errors import run_command

NO_WARM_UP = ("OPTIM.WARMUP_EPOCH", "-1")
SCHEDULES: dict[str, tuple[str, ...]] = {
    "paper": (),
    "20 epochs, 3e-3, no warm-up": ("OPTIM.MAX_EPOCH", "20", "OPTIM.LR", "3e-3", *NO_WARM_UP),
    "20 epochs, 2e-3, no warm-up": ("OPTIM.MAX_EPOCH", "20", "OPTIM.LR", "2e-3", *NO_WARM_UP),
    "20 epochs, 1e-3, no warm-up": ("OPTIM.MAX_EPOCH", "20", *NO_WARM_UP),
    "20 epochs, 1e-3": ("OPTIM.MAX_EPOCH", "20"),
    "20 epochs, 3e-3": ("OPTIM.MAX_EPOCH", "20", "OPTIM.LR", "3e-3"),
    "20 epochs, 2e-3, batches of 16": (
        *("OPTIM.MAX_EPOCH", "20", "OPTIM.LR", "2e-3"),
        *("DATALOADER.TRAIN_X.BATCH_SIZE", "16"),
    ),
    "10 epochs, 3e-3, no warm-up": ("OPTIM.MAX_EPOCH", "10", "OPTIM.LR", "3e-3", *NO_WARM_UP),
    "6 epochs, 3e-3, no warm-up": ("OPTIM.MAX_EPOCH", "6", "OPTIM.LR", "3e-3", *NO_WARM_UP),
    "6 epochs, 1e-3, no warm-up": ("OPTIM.MAX_EPOCH", "6", *NO_WARM_UP),
    "4 epochs, 1e-3, no warm-up": ("OPTIM.MAX_EPOCH", "4", *NO_WARM_UP),
}


def main() -> None:
    """Run from the command line."""
    report("schedules", SCHEDULES, __doc__.splitlines()[0])


if __name__ == "__main__":
    sys.exit(run_command(main))
