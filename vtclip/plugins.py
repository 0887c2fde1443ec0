"""Modules that register trainers, datasets and backbones when they are imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from vtclip.errors import UserError


def import_modules(own: Sequence[str], plugins: Sequence[str] = ()) -> None:
    """Import this project's modules and the plug-ins that a user names.

    Args:
        own: modules of this project.
        plugins: modules of the user; the working folder is searched for them too.

    Raises:
        UserError: Dassl or a plug-in is not installed.
    """
    folder = str(Path.cwd())
    if plugins and folder not in sys.path:
        sys.path.append(folder)
    for name in (*own, *plugins):
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name and error.name.split(".")[0] == "dassl":
                raise UserError(
                    "dassl: not installed; run `pip install ./toolkit`, or install Dassl.pytorch."
                ) from error
            if error.name == name:
                raise UserError(f"--plugin {name}: no such module.") from error
            raise
