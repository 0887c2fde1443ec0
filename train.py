"""Train and test a method: `python train.py --trainer VTCLIP`, with CoOp's arguments.

Without anything else it runs on the embedded default: dataset digits, backbone tiny, 16 shots,
seed 1. `--seeds 1-3` runs several seeds one after the other and prints their mean.
"""

import sys

from vtclip.commands.train import main, parse_args, plan_of, run

__all__ = ["main", "parse_args", "plan_of", "run"]

if __name__ == "__main__":
    sys.exit(main())
