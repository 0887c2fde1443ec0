"""YAML files and KEY VALUE pairs into a configuration, each value turned into its key's type."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from vtclip.config.keys import PATH_KEYS, RENAMED
from vtclip.errors import UserError

# a configuration is a page of text; more is another kind of file
LARGEST_FILE = 1_000_000
LARGEST_VALUE = 10_000


class _PlainLoader(yaml.SafeLoader):
    """Reads YAML without anchors, which a few bytes can unfold into gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias; everything else is as in SafeLoader."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        return super().compose_node(parent, index)


def flatten(node: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a configuration by dotted key.

    >>> flatten({"OPTIM": {"LR": 0.1}, "SEED": 1})
    {'OPTIM.LR': 0.1, 'SEED': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


def read_file(path: Path, *, _parents: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read the values of a YAML file by dotted key, after those of the files that its BASE names.

    BASE is a path, or a list of them in the order of merging, relative to the file itself.

    Raises:
        UserError: the file is missing or not YAML, or is its own BASE.
    """
    content = _read_yaml(path)
    parents = (*_parents, path.resolve())
    values: dict[str, Any] = {}
    for base in _bases(content.pop("BASE", []), path):
        if base in parents:
            raise UserError(f"{path}: BASE leads from {base} back to itself.")
        values |= read_file(base, _parents=parents)
    return values | flatten(content)


def merge_file(cfg: CfgNode, path: Path) -> None:
    """Merge a YAML file into the configuration; see :func:`read_file`.

    Raises:
        UserError: as :func:`read_file`, or a key is unknown, or a value of a wrong type.
    """
    merge_values(cfg, read_file(path), source=f"{path}: ")


def read_options(options: Sequence[str]) -> dict[str, str]:
    """Return the KEY VALUE pairs of a command line.

    Raises:
        UserError: a value is missing.
    """
    if len(options) % 2:
        raise UserError(f"{options[-1]}: has no value; options are pairs KEY VALUE.")
    return dict(zip(options[::2], options[1::2], strict=True))


def merge_values(cfg: CfgNode, values: Mapping[str, Any], source: str = "") -> None:
    """Set values by dotted key.

    Args:
        cfg: changed in place.
        values: Python values, or texts that stand for them.
        source: words before the key in messages.

    Raises:
        UserError: a key is unknown, or a value of a wrong type.
    """
    known = flatten(cfg)
    for key, value in values.items():
        if key in RENAMED:
            raise UserError(f"{source}{key}: is called {RENAMED[key]} now.")
        if key not in known:
            nearest = difflib.get_close_matches(key.upper(), known, n=1, cutoff=0.0)
            hint = f"; did you mean {nearest[0]}?" if nearest else "."
            raise UserError(f"{source}{key}: no such configuration key{hint}")
        try:
            typed = _typed(value, known[key])
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise UserError(
                f"{source}{key}: {_short(value)} is of a wrong type; it takes a value such as "
                f"{known[key]!r}."
            ) from None
        if key in PATH_KEYS and typed.startswith("~"):
            typed = str(Path(typed).expanduser())
        *parents, last = key.split(".")
        node = cfg
        for parent in parents:
            node = node[parent]
        node[last] = typed


def _typed(value: Any, example: Any) -> Any:
    """Return `value` in the type of `example`; a text may stand for a number or a list.

    Raises:
        ValueError: it cannot be had in that type.
    """
    if isinstance(example, str):
        # a text of digits is a number for YAML and Python, and a text all the same
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value)
        raise ValueError
    if isinstance(value, str):
        value = _literal(value, example)
    if isinstance(example, bool) or isinstance(value, bool):
        if isinstance(example, bool) and isinstance(value, bool):
            return value
        raise ValueError
    if isinstance(example, int):
        if isinstance(value, int):
            return value
        raise ValueError
    if isinstance(example, float):
        return float(value)
    if not isinstance(value, list | tuple):
        raise ValueError
    return type(example)(_item(item, example) for item in value)


def _literal(text: str, example: Any) -> Any:
    if len(text) > LARGEST_VALUE:
        raise ValueError
    if isinstance(example, float):
        return float(text)  # 1e-4 too, which YAML reads as a text
    return ast.literal_eval(text.strip())


def _item(item: Any, example: Sequence[Any]) -> Any:
    """Return an item of a list in the type of the items of `example`, where it has any."""
    if example:
        return _typed(item, example[0])
    if isinstance(item, str | int | float):
        return item
    raise ValueError


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.expanduser().open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise UserError(f"{path}: too large for a configuration.")
        content = _PlainLoader(text.decode("utf-8-sig")).get_single_data()
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not YAML ({reason}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a configuration (no KEY: value lines).")
    return content


def _bases(names: Any, path: Path) -> list[Path]:
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise UserError(f"{path}: BASE: takes a path or a list of paths, not {names!r}.")
    return [(path.parent / name).resolve() for name in listed]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
