"""Checks of values that come from a JSON file; no check raises, whatever the value is."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Expectation:
    """What the value of a field must be.

    Attributes:
        words: the same in words, for "FIELD is VALUE, not WORDS".
        holds: tells whether a value of a JSON file is as expected; never raises.
    """

    words: str
    holds: Callable[[Any], bool]


def whole_number(low: int) -> Expectation:
    """Expect an integer from `low` on that fits into 64 bits."""
    return Expectation(
        f"a whole number from {low}", lambda v: type(v) is int and low <= v <= LARGEST_INTEGER
    )


def number(low: float, high: float, words: str) -> Expectation:
    """Expect a finite number between `low` and `high`, both included."""
    # a comparison with nan is false, and one with a huge integer needs no float
    return Expectation(words, lambda v: type(v) in (int, float) and low <= v <= high)


def one_of(*names: str) -> Expectation:
    """Expect one of `names`."""
    return Expectation(f"one of {', '.join(names)}", lambda v: isinstance(v, str) and v in names)


def list_of(item: Expectation) -> Expectation:
    """Expect a list in which every value is as `item`."""
    return Expectation(
        f"a list with {item.words} in each place",
        lambda v: isinstance(v, list) and all(map(item.holds, v)),
    )


def mapping_of(item: Expectation) -> Expectation:
    """Expect an object in which every value is as `item`."""
    return Expectation(
        f"an object with {item.words} under each name",
        lambda v: (
            isinstance(v, dict) and all(map(_is_text, v)) and all(map(item.holds, v.values()))
        ),
    )


def record_of(fields: Mapping[str, Expectation]) -> Expectation:
    """Expect an object with just these fields, each with a value as it expects."""
    return Expectation(
        f"an object of {', '.join(fields)}",
        lambda v: (
            isinstance(v, dict)
            and v.keys() == fields.keys()
            and all(expected.holds(v[name]) for name, expected in fields.items())
        ),
    )


def or_null(expected: Expectation) -> Expectation:
    """Expect null or what `expected` does."""
    return Expectation(f"{expected.words} or null", lambda v: v is None or expected.holds(v))


def _is_text(value: Any) -> bool:
    # half of a surrogate pair cannot be printed, and no path has a NUL
    return isinstance(value, str) and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)


def _is_line(value: Any) -> bool:
    return _is_text(value) and all(unicodedata.category(c) not in _BREAKS for c in value)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool) or _is_text(value) or NUMBER.holds(value)


def _is_setting(value: Any) -> bool:
    # no deeper: what JSON can nest may be more than Python can call
    if not isinstance(value, list):
        return _is_scalar(value)
    return all(
        all(map(_is_scalar, item)) if isinstance(item, list) else _is_scalar(item) for item in value
    )


LARGEST_INTEGER = 2**63 - 1
# the categories of control characters and of separators of lines and paragraphs
_BREAKS = {"Cc", "Zl", "Zp"}
TEXT = Expectation("a text", _is_text)
LINE = Expectation("a text of one line", _is_line)
NAME = Expectation("a name", lambda v: _is_line(v) and v.strip() != "")
PERCENTAGE = number(0, 100, "a percentage")
NUMBER = number(-sys.float_info.max, sys.float_info.max, "a finite number")
# up to where sums of many are finite too
AMOUNT = number(0, 1e15, "a number between 0 and 1e15")
# logits may be as large as float32 goes
NATS = number(0, 1e40, "a number between 0 and 1e40")
TRUE_OR_FALSE = Expectation("true or false", lambda v: isinstance(v, bool))
OBJECT_OR_NULL = Expectation("an object or null", lambda v: v is None or isinstance(v, dict))
SETTING = Expectation("a value of the configuration", _is_setting)
