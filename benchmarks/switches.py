"""What each switch of VT-CLIP and of its optimiser is worth, on all validation images of a dataset.

    python -m benchmarks.switches --name caltech101 --seeds 1 --shots 1 4 -- ARGUMENTS

The ARGUMENTS are those of train.py that name dataset and backbone. Every row is the fast recipe
(docs/protocols.md) with one change.
"""

from __future__ import annotations

import sys

from benchmarks.schedules import SCHEDULES
from benchmarks.validated import report
from vtclip.errors import run_command

FAST = SCHEDULES["20 epochs, 3e-3, no warm-up"]
SWITCHES: dict[str, tuple[str, ...]] = {
    "fast": (),
    "rate 1e-3": ("OPTIM.LR", "1e-3"),
    "rate 1e-2": ("OPTIM.LR", "1e-2"),
    "SGD 2e-2": ("OPTIM.NAME", "sgd", "OPTIM.LR", "2e-2"),
    "decay 0.05": ("OPTIM.WEIGHT_DECAY", "0.05"),
    "batches of 16": ("DATALOADER.TRAIN_X.BATCH_SIZE", "16"),
    "pre-norm": ("TRAINER.VTCLIP.NORM", "pre"),
    "no feed-forward part": ("TRAINER.VTCLIP.FFN", "False"),
    "no self-attention": ("TRAINER.VTCLIP.SELF_ATTENTION", "False"),
    "dropout 0.1": ("TRAINER.VTCLIP.DROPOUT", "0.1"),
    "two layers": ("TRAINER.VTCLIP.N_LAYERS", "2"),
    "raw tokens": ("TRAINER.VTCLIP.VISUAL_TOKENS", "backbone"),
    "global token": ("TRAINER.VTCLIP.INCLUDE_GLOBAL", "True"),
    "10 views, crops of 0.5 to 1": (
        *("INPUT.TRANSFORMS", "('random_resized_crop', 'random_flip', 'normalize')"),
        *("INPUT.RRCROP_SCALE", "(0.5, 1.0)", "FEATURES.VIEWS", "10"),
    ),
}


def main() -> None:
    """Run from the command line."""
    settings = {name: (*FAST, *change) for name, change in SWITCHES.items()}
    report("switches", settings, __doc__.splitlines()[0])


if __name__ == "__main__":
    sys.exit(run_command(main))
