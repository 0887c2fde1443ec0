"""Pictures of finished runs: `python report.py attention RUN`, and others; see --help."""

import sys

from vtclip.commands.report import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
