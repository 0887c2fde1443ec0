"""What people see of a run: some lines, one live bar, and a line per minute where there is none.

`say` is for people, `print` for the log. While :func:`taken_over` has the screen, what is printed
is not shown, and what is said is both shown and printed. Where nothing has taken it over, as in the
command line of another project, all of it is printed, and Dassl's own lines stay on the screen.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO, TypeVar, cast

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 60.0
# what is done sooner shows no bar
SECONDS_BEFORE_BAR = 0.5
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit}{postfix}, {remaining} left"
BAR_WITHOUT_TOTAL = "{desc}: {n_fmt}{unit}{postfix}, {elapsed}"
# counted one by one, shown in the larger units that suit them
BYTES = "B"

Item = TypeVar("Item", covariant=True)


class Countable(Sized, Iterable[Item], Protocol[Item]):
    """Items of a known number."""


@dataclass
class _Screen:
    """The state of the screen.

    Attributes:
        output, errors: the terminal or whatever stands in for it, None where not taken over.
        verbose: show what is printed too.
        bars: open bars; the last one is on the screen.
    """

    output: TextIO | None = None
    errors: TextIO | None = None
    verbose: bool = False
    bars: list[Progress] = field(default_factory=list)


_screen = _Screen()


def say(text: str) -> None:
    """Show a line to people, and log it."""
    print(text, flush=True)
    if _screen.output is not None and not _screen.verbose:
        _show(_screen.output, f"{text}\n")


def warn(text: str) -> None:
    """Show a line that a reader of the results must know, on standard error, and log it."""
    print(text, flush=True, file=None if _screen.errors is None else sys.stderr)


class Progress:
    """How much of a task is done: a bar on a terminal, elsewhere a line per minute.

    Args:
        task: what is done, in words.
        total: number of units, None where nobody knows it.
        unit: their name, or BYTES.
        done: the units that were done before.
        shown: False shows nothing.
        whole: tasks that begin before this one is closed are parts of it, and counted with it.
    """

    def __init__(
        self,
        task: str,
        total: int | None,
        unit: str,
        *,
        done: int = 0,
        shown: bool = True,
        whole: bool = False,
    ) -> None:
        self.whole = whole
        self._task, self._total, self._unit = task, total, unit
        self._before, self._done, self._note = done, done, ""
        self._started = self._last_line = time.monotonic()
        self._bar: Any = None
        self._shown = shown
        stream = _screen.errors or sys.stderr
        if not shown:
            return
        if stream.isatty():
            self._bar = tqdm(
                total=total,
                initial=done,
                desc=task,
                unit=unit if unit == BYTES else f" {unit}",
                unit_scale=unit == BYTES,
                file=stream,
                leave=False,
                delay=SECONDS_BEFORE_BAR,
                miniters=1,
                dynamic_ncols=True,
                bar_format=BAR_WITHOUT_TOTAL if total is None else BAR,
                position=0,
            )
        if _screen.bars:
            _screen.bars[-1].hide()
        _screen.bars.append(self)

    def advance(self, count: int, note: str = "") -> None:
        """Count `count` more units as done.

        Args:
            count: number of units.
            note: how it goes, in words.
        """
        if not self._shown:
            return
        self._done, self._note = self._done + count, note
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            say(self.line())

    def reach(self, done: int) -> None:
        """Count the first `done` units as done."""
        if done > self._done:
            self.advance(done - self._done, self._note)

    def line(self) -> str:
        """Return the state as a line."""
        seconds = time.monotonic() - self._started
        note = f"{self._note}, " if self._note else ""
        done = _amount(self._done, self._unit)
        if self._total is None:
            return f"{self._task}: {done}, {note}{duration(seconds)} so far"
        left = seconds / max(self._done - self._before, 1) * (self._total - self._done)
        whole = _amount(self._total, self._unit)
        return f"{self._task}: {done.partition(' ')[0]} of {whole}, {note}{duration(left)} left"

    def hide(self) -> None:
        """Take the bar from the screen, until it is drawn again."""
        if self._bar is not None:
            self._bar.clear()

    def draw(self) -> None:
        """Draw the bar again."""
        if self._bar is not None and time.monotonic() - self._started > SECONDS_BEFORE_BAR:
            self._bar.refresh()

    def close(self) -> None:
        """Remove the bar from the screen."""
        if self not in _screen.bars:
            return
        _screen.bars.remove(self)
        if self._bar is not None:
            self._bar.clear()
            self._bar.close()
        if _screen.bars:
            _screen.bars[-1].draw()


@contextmanager
def progress(
    task: str,
    total: int | None,
    unit: str,
    *,
    done: int = 0,
    shown: bool = True,
    whole: bool = False,
) -> Iterator[Progress]:
    """Show how much of a task is done while the block runs (see :class:`Progress`)."""
    if _screen.bars and _screen.bars[-1].whole:
        yield _screen.bars[-1]
        return
    bar = Progress(task, total, unit, done=done, shown=shown, whole=whole)
    try:
        yield bar
    finally:
        bar.close()


def counted(items: Countable[Item], task: str, unit: str) -> Iterator[Item]:
    """Yield the items, and show how many of them are done (see :class:`Progress`)."""
    with progress(task, len(items), unit) as bar:
        for item in items:
            yield item
            bar.advance(1)


def _amount(count: int, unit: str) -> str:
    return f"{count / 1e6:,.1f} MB" if unit == BYTES else f"{count:,} {unit}"


def epochs_progress(start: int, epochs: int, steps: int) -> Progress:
    """Return the progress of a training.

    It shows nothing where the screen is not taken over: Dassl prints lines of its own there.

    Args:
        start: epochs that were run before.
        epochs: all of them.
        steps: of an epoch.
    """
    shown = _screen.output is not None and epochs * steps > 0
    return Progress("training", epochs * steps, "steps", done=start * steps, shown=shown)


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it.

    >>> [duration(seconds) for seconds in (0.2, 59, 61, 5400, 200_000)]
    ['0 s', '59 s', '1 min', '1 h 30 min', '55 h 33 min']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@contextmanager
def taken_over(*, verbose: bool = False) -> Iterator[None]:
    """Take the screen over while the block runs: what is printed is not shown.

    Args:
        verbose: what is printed is shown as well.
    """
    global _screen
    before, output, errors = _screen, sys.stdout, sys.stderr
    _screen = _Screen(output, errors, verbose)
    sys.stdout = cast(TextIO, _Printed(output))
    try:
        yield
    finally:
        sys.stdout.flush()
        for bar in reversed(_screen.bars):
            bar.close()
        sys.stdout, sys.stderr, _screen = output, errors, before


@contextmanager
def errors_logged() -> Iterator[None]:
    """Copy what goes to standard error to the log of standard output while the block runs."""
    copied = _Copied(sys.stderr if _screen.errors is None else _screen.errors)
    before, sys.stderr = sys.stderr, cast(TextIO, copied)
    try:
        yield
    finally:
        copied.end_line()
        sys.stderr = before


def log_only(text: str) -> None:
    """Print without showing, also where `verbose` shows what is printed."""
    verbose, _screen.verbose = _screen.verbose, False
    try:
        print(text, flush=True)
    finally:
        _screen.verbose = verbose


class _Stream:
    """A stream in the place of another, whose other attributes it has.

    Closing it has no effect on the other: Dassl's logger closes the console.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        self.flush()

    def flush(self) -> None:
        self._stream.flush()

    def write(self, text: str) -> int:
        *lines, self._started = (self._started + text).split("\n")
        for line in lines:
            self._take(line)
        return len(text)

    def _take(self, line: str) -> None:
        raise NotImplementedError


class _Printed(_Stream):
    """The console of Dassl's logger."""

    def _take(self, line: str) -> None:
        if _screen.verbose:
            _show(self._stream, f"{line}\n")


class _Copied(_Stream):
    """Standard error, which is shown as it comes; the log gets whole lines."""

    def write(self, text: str) -> int:
        _show(self._stream, text)
        return super().write(text)

    def end_line(self) -> None:
        """Log the line that has not ended."""
        if self._started.strip():
            self.write("\n")

    def _take(self, line: str) -> None:
        # of the bars of others the last state alone
        log_only(line.rstrip("\r").rpartition("\r")[2])


def _show(stream: TextIO, text: str) -> None:
    """Write to the screen, above the bar, with replacements for signs that it does not have."""
    bar = _screen.bars[-1] if _screen.bars else None
    if bar is not None:
        bar.hide()
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
    if bar is not None:
        bar.draw()
