"""The names that modules of this project register, read from their source: nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

from vtclip.checkout import ROOT

BACKBONES = Path(__file__).resolve().parent / "backbones"


def methods_in_source(folder: Path = ROOT / "trainers") -> list[str]:
    """Return the classes that are registered as trainers, in the order of their modules."""
    return [
        node.name
        for path in sorted(folder.glob("*.py"))
        for node, decorator in _decorated(path)
        if isinstance(node, ast.ClassDef)
        and ast.unparse(decorator.func) == "TRAINER_REGISTRY.register"
    ]


def backbones_in_source(folder: Path = BACKBONES) -> list[str]:
    """Return the names that `vtclip.backbones` registers and installed packages announce.

    Sorted, families (`hf:*`) last.
    """
    names = set(entry_points(group="vtclip.backbones").names)
    for _, decorator in _decorated(folder / "builtin.py"):
        if ast.unparse(decorator.func) != "register_backbone":
            continue
        for argument in decorator.args:
            if isinstance(argument, ast.Starred):
                names |= _keys(folder / "pretrained.py", ast.unparse(argument.value))
            else:
                names.add(ast.literal_eval(argument))
    return sorted(names, key=lambda name: (name.endswith(":*"), name))


Definition = ast.ClassDef | ast.FunctionDef


def _decorated(path: Path) -> Iterator[tuple[Definition, ast.Call]]:
    """Yield the definitions of a module, each with the call that decorates it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call):
                    yield node, decorator


def _keys(path: Path, variable: str) -> set[str]:
    """Return the keys of a dictionary that a module assigns to a variable."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == variable:
            assert isinstance(node.value, ast.Dict)
            return {ast.literal_eval(key) for key in node.value.keys if key is not None}
    raise LookupError(f"{path}: assigns no {variable}")
