"""The seconds that the parts of a run take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up seconds by the name of a part.

    >>> stopwatch = Stopwatch("train", "test")
    >>> with stopwatch("train"):
    ...     pass
    >>> sorted(stopwatch.seconds())
    ['test', 'total', 'train']
    """

    def __init__(self, *parts: str) -> None:
        self._started = time.perf_counter()
        self._seconds = dict.fromkeys(parts, 0.0)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Add the time of the block to a part; where it fails, too."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - started

    def add(self, part: str, seconds: float) -> None:
        """Add seconds to a part."""
        self._seconds[part] += seconds

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each part, and the "total" since the start, in milliseconds."""
        total = time.perf_counter() - self._started
        return {name: round(value, 3) for name, value in {**self._seconds, "total": total}.items()}
