"""Classes and functions found by name."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


def check_availability(requested: object, available: Iterable[str], key: str = "") -> None:
    """Raise unless `requested` is one of `available`.

    Args:
        requested: the name; anything but a string is unknown too.
        available: the known names.
        key: where the name comes from, such as "OPTIM.NAME"; the message begins with it.

    Raises:
        ValueError: with one line that lists the available names and suggests the nearest.
    """
    names = list(available)
    if requested in names:
        return
    by_lower_case = {name.lower(): name for name in names}
    near = get_close_matches(str(requested).lower(), by_lower_case, n=1, cutoff=0.5)
    hint = f"did you mean {by_lower_case[near[0]]!r}? " if near else ""
    raise ValueError(
        f"{key and f'{key}: '}unknown name {requested!r}: "
        f"{hint}there are {', '.join(names) or 'none'}"
    )


class Registry:
    """A table from names to classes or functions, filled by a decorator.

    >>> COLOURS = Registry("COLOURS")
    >>> @COLOURS.register()
    ... class Red: ...
    >>> COLOURS.get("Red") is Red
    True
    """

    def __init__(self, name: str) -> None:
        """Make an empty table; `name` is what error messages call it."""
        self._name = name
        self._entries: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        """Whether `name` is registered."""
        return name in self._entries

    def register(self, *, force: bool = False) -> Callable[[T], T]:
        """Return a decorator that enters a class or function under its own `__name__`.

        Args:
            force: replace an entry of that name.

        Raises:
            ValueError: by the decorator, where the name is taken and `force` is not set.
        """

        def enter(entry: T) -> T:
            name = entry.__name__
            if name in self._entries and not force:
                raise ValueError(f"{name!r} is already registered in {self._name}")
            self._entries[name] = entry
            return entry

        return enter

    def get(self, name: str, key: str = "") -> Any:
        """Return the entry called `name`.

        Args:
            name: the name.
            key: what the message on an unknown name begins with; the table's name if empty.

        Raises:
            ValueError: with one line that lists the registered names and suggests the nearest.
        """
        check_availability(name, self._entries, key or self._name)
        return self._entries[name]

    def registered_names(self) -> list[str]:
        """Return the names in the order of registration."""
        return list(self._entries)
