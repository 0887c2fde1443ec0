"""Files, folders and lists."""

import json
import warnings
from os import PathLike
from pathlib import Path
from typing import Any

AnyPath = str | PathLike[str]


def mkdir_if_missing(dirname: AnyPath) -> None:
    """Make the folder and those above it; an existing one is left alone."""
    Path(dirname).mkdir(parents=True, exist_ok=True)


def check_isfile(fpath: AnyPath) -> bool:
    """Return whether `fpath` is a file, and warn if it is not."""
    found = Path(fpath).is_file()
    if not found:
        warnings.warn(f'no file at "{fpath}"', stacklevel=2)
    return found


def listdir_nohidden(path: AnyPath, sort: bool = False) -> list[str]:
    """Return the names in a folder but those that begin with a dot."""
    names = [entry.name for entry in Path(path).iterdir() if not entry.name.startswith(".")]
    return sorted(names) if sort else names


def read_json(fpath: AnyPath) -> Any:
    """Return what a JSON file in UTF-8 holds."""
    return json.loads(Path(fpath).read_text(encoding="utf-8"))


def write_json(obj: Any, fpath: AnyPath) -> None:
    """Write `obj` as JSON in UTF-8, making the folder where it is missing."""
    mkdir_if_missing(Path(fpath).parent)
    Path(fpath).write_text(json.dumps(obj, indent=4) + "\n", encoding="utf-8")


def tolist_if_not(x: Any) -> list[Any]:
    """Return a list as it is, any other value as the one item of a list."""
    return x if isinstance(x, list) else [x]
