"""Run many methods on many datasets with shots and seeds: `python sweep.py --methods ...`."""

import sys

from vtclip.commands.sweep import main, parse_args

__all__ = ["main", "parse_args"]

if __name__ == "__main__":
    sys.exit(main())
