"""Classify images with a finished run: `python predict.py RUN IMAGE|FOLDER ...`."""

import sys

from vtclip.commands.predict import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
