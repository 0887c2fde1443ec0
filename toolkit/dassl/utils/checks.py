"""Values of the configuration that cannot be used, told in one line that begins with the key."""

import math
from collections.abc import Sequence


def check_number(
    value: object, key: str, low: float = 0.0, high: float = math.inf, below: float = math.inf
) -> None:
    """Raise unless `value` is a number with `low` <= value <= `high` and value < `below`.

    Args:
        value: what the configuration holds.
        key: its key, such as "OPTIM.LR"; the message begins with it.
        low: the smallest value.
        high: the largest value.
        below: a bound that is not reached itself; infinite numbers are never accepted.

    Raises:
        ValueError: with one line.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and low <= float(value) <= high and float(value) < below:  # type: ignore[arg-type]
        return
    raise ValueError(f"{key}: must be a number{_bounds(low, high, below)}, not {value!r}")


def check_whole(value: object, key: str, low: int | None = 0, high: int | None = None) -> None:
    """Raise unless `value` is a whole number from `low` to `high`; None: no bound.

    Raises:
        ValueError: with one line that begins with `key`.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    smallest = -math.inf if low is None else low
    largest = math.inf if high is None else high
    if whole and smallest <= value <= largest:  # type: ignore[operator]
        return
    bounds = _bounds(smallest, largest, math.inf)
    raise ValueError(f"{key}: must be a whole number{bounds}, not {value!r}")


def check_sequence(value: object, key: str, length: int | None = None) -> None:
    """Raise unless `value` is a list or tuple, of `length` items where that is given.

    Raises:
        ValueError: with one line that begins with `key`.
    """
    if isinstance(value, Sequence) and not isinstance(value, str) and length in (None, len(value)):
        return
    what = "a list" if length is None else f"a list of {length}"
    raise ValueError(f"{key}: must be {what}, not {value!r}")


def _bounds(low: float, high: float, below: float) -> str:
    if low == -math.inf:
        return "" if high == math.inf else f" up to {high:g}"
    if below < math.inf:
        return f" from {low:g} to below {below:g}"
    return f" from {low:g}" if high == math.inf else f" from {low:g} to {high:g}"
