"""Results of finished runs: `python parse_test_res.py DIR`; with `--table`, of many runs."""

import sys

from vtclip.commands.tables import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
