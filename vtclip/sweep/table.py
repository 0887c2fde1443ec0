"""How far a sweep is: lines for people, and a table that stays in its place on a terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from statistics import fmean

from tabulate import tabulate

from vtclip.screen import SECONDS_BETWEEN_LINES, duration
from vtclip.sweep.record import RunRecord

COLUMNS = ("dataset", "done", "running", "failed", "left")
FINISHED = {"done", "skipped"}
FAILED = {"failed", "timeout", "died"}
SECONDS_BETWEEN_DRAWINGS = 0.2


def seconds_left(
    open_runs: Sequence[RunRecord], measured: Sequence[RunRecord], workers: int
) -> float | None:
    """Return how long the runs that have not ended will take, None where nothing was measured.

    A run is expected to take the mean of those that have most in common with it: method, dataset
    and shots, else method and dataset, else the method, else all.

    Args:
        open_runs: planned and running.
        measured: records of runs, of which those that were done count.
        workers: how many run side by side.
    """
    by: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for run in measured:
        if run.state == "done" and run.method:
            for likeness in _likenesses(run):
                by[likeness].append(run.seconds)
    if not by:
        return None
    means = {likeness: fmean(seconds) for likeness, seconds in by.items()}
    total = sum(
        next(means[likeness] for likeness in _likenesses(run) if likeness in means)
        for run in open_runs
    )
    return total / max(1, min(workers, len(open_runs)))


def _likenesses(run: RunRecord) -> tuple[tuple[object, ...], ...]:
    return (run.method, run.dataset, run.shots), (run.method, run.dataset), (run.method,), ()


def summary_line(
    runs: Sequence[RunRecord], left: float | None, encoding: Collection[str] = ()
) -> str:
    """Return how far the runs are, in one line.

    Args:
        runs: of the plan.
        left: seconds, None where they are not known.
        encoding: the datasets whose images are encoded now.
    """
    states = Counter(run.state for run in runs)
    finished = sum(states[state] for state in FINISHED)
    failed = sum(states[state] for state in FAILED)
    parts = [f"{finished:,} of {len(runs):,} runs done"]
    if states["skipped"]:
        parts[0] += f" ({states['skipped']:,} of them before)"
    if states["running"]:
        parts.append(f"{states['running']} running")
    if failed:
        parts.append(f"{failed:,} failed")
    if encoding:
        parts.append(f"encoding {' and '.join(sorted(encoding))}")
    if left is not None and finished + failed < len(runs):
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def table_lines(
    runs: Sequence[RunRecord], left: float | None, encoding: Collection[str] = ()
) -> list[str]:
    """Return a row per dataset, and the summary below."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        counts[run.dataset][run.state] += 1
    rows = [
        (
            dataset,
            sum(states[state] for state in FINISHED),
            states["running"],
            sum(states[state] for state in FAILED),
            states["planned"],
        )
        for dataset, states in counts.items()
    ]
    return [*tabulate(rows, COLUMNS).splitlines(), summary_line(runs, left, encoding)]


class LiveTable:
    """Lines that are drawn again in their place on a terminal; elsewhere a line per minute."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._drawn = 0
        self._last = 0.0 if self._live else time.monotonic()

    def is_due(self) -> bool:
        """Tell whether the last drawing, or line, is some time ago."""
        pause = SECONDS_BETWEEN_DRAWINGS if self._live else SECONDS_BETWEEN_LINES
        return time.monotonic() - self._last >= pause

    def show(
        self, runs: Sequence[RunRecord], left: float | None, encoding: Collection[str]
    ) -> None:
        """Draw the table, or print the summary."""
        self._last = time.monotonic()
        if not self._live:
            print(summary_line(runs, left, encoding), flush=True)
            return
        self.hide()
        lines = table_lines(runs, left, encoding)
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
        self._drawn = len(lines)

    def say(self, text: str) -> None:
        """Print a line that stays, above the table."""
        self.hide()
        print(text, flush=True)

    def hide(self) -> None:
        """Take the table from the screen."""
        if self._drawn:
            # up to its first line, and clear to the end of the screen
            sys.stderr.write(f"\x1b[{self._drawn}F\x1b[J")
            sys.stderr.flush()
            self._drawn = 0
