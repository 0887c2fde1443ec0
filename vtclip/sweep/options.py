"""What a sweep is asked for: by options of the command line, or by a YAML file of the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtclip.config import read_file
from vtclip.errors import UserError, shortened, unknown_name
from vtclip.tables.names import BENCHMARK

# CoOp's eleven (arXiv 2109.01134, section 4), by the names of their configurations
ELEVEN = tuple(BENCHMARK.values())
KEYS = ("METHODS", "DATASETS", "SHOTS", "SEEDS", "BACKBONE", "ROOT", "PLUGINS", "SET")
MANY = 10_000


@dataclass(frozen=True)
class SweepOptions:
    """What is to run: every method on every dataset with every number of shots and every seed.

    Attributes:
        methods: names of methods, and configuration files of methods.
        datasets: names of configurations in configs/datasets, "all" for CoOp's eleven, and
            configuration files of datasets.
        shots: images per class; -1 for all.
        seeds: the seeds.
        backbone: its name, or the file of its weights; "" as in train.py.
        root: the data root; "" as in train.py.
        plugins: modules that register methods, datasets or backbones.
        settings: values of configuration keys for every run, as texts.
    """

    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    shots: tuple[int, ...] = (1, 2, 4, 8, 16)
    seeds: tuple[int, ...] = (1, 2, 3)
    backbone: str = ""
    root: str = ""
    plugins: tuple[str, ...] = ()
    settings: Mapping[str, str] | None = None


def number_list(text: str, name: str) -> tuple[int, ...]:
    """Return the numbers of "1-3", "1,2,4" or "1,4-6,-1", each once, in their order.

    Args:
        text: the list.
        name: of the option, for messages.

    Raises:
        UserError: it is no such list.

    >>> number_list("1,4-6,-1", "--shots")
    (1, 4, 5, 6, -1)
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d{1,10})(?:-(\d{1,10}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < first + MANY:
            raise UserError(
                f"{name}: {shortened(text)!r} is neither FIRST-LAST nor a list such as 1,2,4."
            )
        numbers += range(first, last + 1)
    return tuple(dict.fromkeys(numbers))


def name_list(text: str) -> tuple[str, ...]:
    """Return the names of a list with commas, each once.

    >>> name_list("digits, dtd,")
    ('digits', 'dtd')
    """
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def settings_of(pairs: Sequence[str]) -> dict[str, str]:
    """Return the values of KEY=VALUE texts.

    Raises:
        UserError: a text has no "=".

    >>> settings_of(["OPTIM.LR=0.1"])
    {'OPTIM.LR': '0.1'}
    """
    found = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise UserError(f"--set {shortened(pair)}: has no value; it takes KEY=VALUE.")
        found[key.strip()] = value
    return found


def read_sweep_file(path: Path) -> SweepOptions:
    """Return what a YAML file asks for: METHODS, DATASETS, SHOTS, SEEDS and so on.

    Lists may be YAML lists or texts as on the command line. SET holds configuration keys, nested
    or dotted.

    Raises:
        UserError: the file cannot be read, or a key or a value is not one of a sweep.

    Returns:
        The options; those that the file does not name have their defaults.
    """
    found: dict[str, Any] = {}
    settings: dict[str, str] = {}
    for key, value in read_file(path).items():
        name = f"{path}: {shortened(key)}"
        if key.startswith("SET."):
            settings[key.removeprefix("SET.")] = value if isinstance(value, str) else repr(value)
        elif key in ("METHODS", "DATASETS", "PLUGINS"):
            found[key.lower()] = name_list(_text(value, name))
        elif key in ("SHOTS", "SEEDS"):
            found[key.lower()] = number_list(_text(value, name), name)
        elif key in ("BACKBONE", "ROOT"):
            found[key.lower()] = _text(value, name)
        else:
            raise unknown_name(f"{path}: key of a sweep", key, KEYS)
    return SweepOptions(**found, settings=settings)


def _text(value: Any, name: str) -> str:
    """Return a value, or the items of a list of them, as on the command line.

    Raises:
        UserError: it is neither.
    """
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, bool) or not isinstance(item, str | int) for item in items):
        raise UserError(f"{name}: {shortened(repr(value))} is neither a name or number nor a list.")
    return ",".join(map(str, items))
