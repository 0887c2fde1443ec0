"""One line of the result: what was checked, whether it passed, and the figure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["passed", "failed", "measured", "not run"]


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        check: which check it belongs to.
        what: what was looked at.
        state: "measured" has no limit to pass; "not run" says why in `figure`.
        figure: as people read it, with its unit.
        limit: what passes, empty where there is none.
        value: the bare figure, None where there is none.
    """

    check: str
    what: str
    state: State
    figure: str
    limit: str = ""
    value: float | None = None


def limited(check: str, what: str, value: float, limit: float, unit: str = "") -> Line:
    """Return the line of a figure that passes up to a limit; one that is no number fails.

    >>> limited("memory", "peak", 3.0, 2.0, "MiB").state
    'failed'
    """
    state: State = "passed" if value <= limit else "failed"
    unit = f" {unit}" if unit else ""
    return Line(check, what, state, f"{value:.3g}{unit}", f"at most {limit:.3g}{unit}", value)


def measured(check: str, what: str, value: float, unit: str) -> Line:
    """Return the line of a figure without a limit."""
    return Line(check, what, "measured", f"{value:.4g} {unit}", value=value)


def not_run(check: str, what: str, reason: str) -> Line:
    """Return the line of what this machine cannot show."""
    return Line(check, what, "not run", reason)


def all_passed(lines: Iterable[Line]) -> bool:
    """Return whether no line failed."""
    return all(line.state != "failed" for line in lines)
