"""`python -m vtclip SUBCOMMAND ...`, as the console command."""

import sys

from vtclip.commands.console import main

if __name__ == "__main__":
    sys.exit(main())
