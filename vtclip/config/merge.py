"""YAML files and KEY VALUE pairs into a configuration, each value turned into its key's type."""

from __future__ import annotations

import ast
import difflib
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from vtclip.config.keys import LARGEST_INTEGER, PATH_KEYS, RENAMED
from vtclip.errors import UserError, shortened
from vtclip.files import require_file, user_path

# a configuration is a page of text; more is another kind of file, and takes PyYAML minutes
LARGEST_FILE = 100_000
LARGEST_VALUE = 10_000
DEEPEST_BASE = 100


class _PlainLoader(yaml.SafeLoader):
    """Reads YAML without anchors, which a few bytes can unfold into gigabytes, and without tags."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias and a tag; everything else is as in SafeLoader."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None):
            raise yaml.YAMLError("tags (!name) are not read")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse a key that is there twice, of which YAML's readers take the last."""
        texts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for text, count in texts.items():
            if count > 1:
                raise yaml.YAMLError(f"the key {_short(text)} is there twice")
        return super().construct_mapping(node, deep)

    def construct_whole_number(self, node: Any) -> int:
        """Refuse a whole number that is too long to be printed."""
        number = self.construct_yaml_int(node)
        if abs(number) > LARGEST_INTEGER:
            raise yaml.YAMLError("a whole number of more than 300 digits")
        return number


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_whole_number)


def flatten(node: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a configuration by dotted key.

    Raises:
        UserError: a value is there twice, once below its nodes and once under its dotted key.

    >>> flatten({"OPTIM": {"LR": 0.1}, "SEED": 1})
    {'OPTIM.LR': 0.1, 'SEED': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        part = flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
        for twice in part.keys() & flat.keys():
            raise UserError(f"{shortened(twice)}: is there twice, once as a dotted key.")
        flat.update(part)
    return flat


def read_file(path: Path) -> dict[str, Any]:
    """Read the values of a YAML file by dotted key, after those of the files that its BASE names.

    BASE is a path, or a list of them in the order of merging, relative to the file itself.

    Raises:
        UserError: the file is missing or not YAML, or is its own BASE.
    """
    return _read_with_bases(path, (), {})


def _read_with_bases(
    path: Path, parents: tuple[Path, ...], found: dict[Path, dict[str, Any]]
) -> dict[str, Any]:
    """Read a file; `found` keeps those that are read, since many may have the same BASE."""
    content = _read_yaml(path)
    parents = (*parents, path.resolve())
    if len(parents) > DEEPEST_BASE:
        raise UserError(f"{path}: BASE leads through more than {DEEPEST_BASE} files.")
    values: dict[str, Any] = {}
    for base in _bases(content.pop("BASE", []), path):
        if base in parents:
            raise UserError(f"{path}: BASE leads from {base} back to itself.")
        if base not in found:
            found[base] = _read_with_bases(base, parents, found)
        values |= found[base]
    try:
        return values | flatten(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


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
        raise UserError(f"{shortened(options[-1])}: has no value; options are pairs KEY VALUE.")
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
            name = shortened(key)
            nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)
            hint = f"; did you mean {nearest[0]}?" if nearest else "."
            raise UserError(f"{source}{name}: no such configuration key{hint}")
        try:
            typed = _typed(value, known[key])
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise UserError(
                f"{source}{key}: {_short(value)} is of a wrong type; it takes a value such as "
                f"{known[key]!r}."
            ) from None
        if not _is_plain_text(typed):
            raise UserError(f"{source}{key}: {_short(value)} is not text in UTF-8.")
        if key in PATH_KEYS and typed:
            path = user_path(typed, f"{source}{key}")
            typed = str(path) if typed.startswith("~") else typed
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
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
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
    with warnings.catch_warnings():
        # of odd literals, which are no value anyway
        warnings.simplefilter("ignore", SyntaxWarning)
        return ast.literal_eval(text.strip())


def _item(item: Any, example: Sequence[Any]) -> Any:
    """Return an item of a list in the type of the items of `example`, where it has any."""
    if example:
        return _typed(item, example[0])
    if isinstance(item, str | int | float):
        return item
    raise ValueError


def _is_plain_text(value: Any) -> bool:
    """Tell whether the texts in a value, if any, can be printed and written to files."""
    if isinstance(value, list | tuple):
        return all(_is_plain_text(item) for item in value)
    if not isinstance(value, str):
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        require_file(path)
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise UserError(f"{path}: too large for a configuration.")
        content = _PlainLoader(text.decode("utf-8-sig")).get_single_data()
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not YAML ({reason}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a configuration (no KEY: value lines).")
    return content


def _bases(names: Any, path: Path) -> list[Path]:
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise UserError(f"{path}: BASE: takes a path or a list of paths, not {_short(names)}.")
    return [user_path(str(path.parent / name), f"{path}: BASE").resolve() for name in listed]


def _short(value: Any) -> str:
    return shortened(repr(value), 60)
