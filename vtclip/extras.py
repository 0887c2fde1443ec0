"""Packages that only some commands need, which `pip install 'vtclip[NAME]'` brings along."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from vtclip.errors import UserError


def require(extra: str, what: str, modules: Iterable[str]) -> None:
    """Refuse where a package is absent.

    Args:
        extra: the extra of this project that has the packages.
        what: the argument, command or file that needs them.
        modules: the names that they are imported by.

    Raises:
        UserError: names those that are absent, and how to install them.
    """
    absent = [name for name in modules if find_spec(name) is None]
    if absent:
        raise UserError(absent_line(extra, what, absent))


def absent_line(extra: str, what: str, packages: Iterable[str]) -> str:
    """Return the line that names absent packages and how to install them.

    Args:
        extra: the extra of this project that has them.
        what: the argument, backbone, command or file that needs them.
        packages: their names.
    """
    return (
        f"{what}: needs {', '.join(packages)}; pip install 'vtclip[{extra}]' installs what is "
        f"missing ('.[{extra}]' in a checkout)."
    )
