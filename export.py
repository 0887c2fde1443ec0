"""Export a finished run: `python export.py RUN --onnx FILE` or `--folder DIR`."""

import sys

from vtclip.commands.export import main, parse_args

__all__ = ["main", "parse_args"]

if __name__ == "__main__":
    sys.exit(main())
