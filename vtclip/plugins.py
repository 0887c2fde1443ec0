"""Modules that register trainers, datasets and backbones when they are imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from vtclip.checkout import add_stand_in, put_last
from vtclip.errors import UserError
from vtclip.files import user_path


def import_modules(own: Sequence[str], plugins: Sequence[str] = ()) -> None:
    """Import this project's modules and the plug-ins that a user names.

    Args:
        own: modules of this project.
        plugins: modules of the user, by name or by the path of a file that ends in .py; the
            working folder is searched for names too.

    Raises:
        UserError: Dassl or a plug-in is not installed, or a file has the name of another module.
    """
    folder = str(Path.cwd())
    if plugins and folder not in sys.path:
        sys.path.append(folder)
    add_stand_in()
    for name in own:
        put_last(name)
        _import(name)
    for plugin in plugins:
        _import(_module_of_file(plugin) if plugin.endswith(".py") else plugin)


def _module_of_file(name: str) -> str:
    """Return the name that a file is imported by, with its folder on the path."""
    path = user_path(name, "--plugin").resolve()
    if not path.is_file():
        raise UserError(f"--plugin {name}: no such file.")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    found = find_spec(path.stem) if path.stem.isidentifier() else None
    if found is None or found.origin is None or Path(found.origin).resolve() != path:
        raise UserError(f"--plugin {name}: {path.stem} is not free as a module name; rename it.")
    return path.stem


def _import(name: str) -> None:
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
