"""The figures of results that tables show, by keyword."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vtclip.errors import UserError
from vtclip.results import Result

# what stands where a result has no such figure
UNKNOWN = "-"


@dataclass(frozen=True)
class Metric:
    """One figure of a result.

    Attributes:
        title: as the head of a column.
        value: reads it, in `unit`; None where a result has none, such as one of an earlier version.
        unit: "%" or "nats".
        lower_is_better: how methods are ranked by it.
    """

    title: str
    value: Callable[[Result], float | None]
    unit: str = "%"
    lower_is_better: bool = False

    def text(self, value: float | None) -> str:
        """Return a value of it without its unit."""
        if value is None:
            return UNKNOWN
        return f"{value:.2f}" if self.unit == "%" else f"{value:.4f}"

    @property
    def sign(self) -> str:
        """What follows a value: the percent sign, or nothing."""
        return "%" if self.unit == "%" else ""


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy %", lambda r: r.accuracy),
    "macro_f1": Metric("macro F1 %", lambda r: r.macro_f1),
    "error": Metric("error %", lambda r: 100.0 - r.accuracy, lower_is_better=True),
    "ece": Metric("ECE %", lambda r: r.ece, lower_is_better=True),
    "nll": Metric("NLL", lambda r: r.nll, "nats", lower_is_better=True),
    "ece_scaled": Metric(
        "scaled ECE %",
        lambda r: r.temperature.ece if r.temperature else None,
        lower_is_better=True,
    ),
    "nll_scaled": Metric(
        "scaled NLL",
        lambda r: r.temperature.nll if r.temperature else None,
        "nats",
        lower_is_better=True,
    ),
}


def why_unknown(result: Result) -> str:
    """Return why a result lacks a figure."""
    if result.temperature is None:
        return "the result of an earlier version"
    return f"for there is no temperature ({result.temperature.reason})"


def metric_of(keyword: str) -> Metric:
    """Return the metric of a keyword; one that results do not have is a percentage of the logs."""
    return METRICS.get(keyword, Metric(f"{keyword} %", lambda _: None))


def keywords_of(text: str) -> list[str]:
    """Return the keywords of a list, "accuracy,ece".

    Raises:
        UserError: one is empty or there twice.

    >>> keywords_of("accuracy, ece")
    ['accuracy', 'ece']
    """
    keywords = [keyword.strip() for keyword in text.split(",")]
    if not all(keywords) or len(set(keywords)) < len(keywords):
        raise UserError(f"--keyword: {text!r} is not a list of keywords such as accuracy,ece,nll.")
    return keywords
