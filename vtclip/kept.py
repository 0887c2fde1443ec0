"""What runs in one process have in common, kept in memory from one run to the next.

A single run keeps nothing. While :func:`kept_in_memory` holds, what :func:`kept` and
:func:`kept_of_file` make is made once. What is kept must not be changed by its users.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")


@dataclass
class _Memory:
    """Values by the name of their kind and their key, with the state of the file they are of."""

    values: dict[str, OrderedDict[Hashable, tuple[Hashable, Any]]] = field(default_factory=dict)


_memory: _Memory | None = None


@contextmanager
def kept_in_memory() -> Iterator[None]:
    """Keep values while the block runs."""
    global _memory
    before, _memory = _memory, _Memory()
    try:
        yield
    finally:
        _memory = before


def kept(
    kind: str,
    key: Hashable,
    make: Callable[[], Value],
    *,
    most: int | None = None,
    state: Hashable = None,
) -> Value:
    """Return the value of a key, made by `make` unless it is kept.

    Args:
        kind: of the value.
        key: all that the value depends on.
        make: makes it.
        most: how many of the kind are kept, the last ones; None for all.
        state: what must be as it was when the value was made.
    """
    if _memory is None:
        return make()
    values = _memory.values.setdefault(kind, OrderedDict())
    known = values.get(key)
    if known is not None and known[0] == state:
        values.move_to_end(key)
        value: Value = known[1]
        return value
    values[key] = (state, made := make())
    while most is not None and len(values) > most:
        values.popitem(last=False)
    return made


def kept_of_file(
    kind: str, path: Path, make: Callable[[Path], Value], *, most: int | None = None
) -> Value:
    """Return what `make` makes of a file; a file that was written since is read again.

    Args:
        kind: of the value.
        path: the file.
        make: makes it.
        most: as of :func:`kept`.

    Raises:
        OSError: there is no such file.
    """
    if _memory is None:
        return make(path)
    found = path.stat()
    state = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return kept(kind, str(path), lambda: make(path), most=most, state=state)
