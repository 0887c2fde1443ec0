"""Which task is next, and which one again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from vtclip.sweep.engines import Event, Outcome, Task

# between two tries of a folder that another process works in
SECONDS_UNTIL_BUSY_AGAIN = 3.0


class TaskQueue:
    """The tasks of a sweep that have not ended.

    Args:
        tasks: all of them, in the order in which they are started.
        retries: how often one whose process was killed is started again.
        is_done: tells whether the result of a run is there meanwhile.
    """

    def __init__(
        self, tasks: Sequence[Task], retries: int, is_done: Callable[[Task], bool]
    ) -> None:
        self._waiting = list(tasks)
        self._retries, self._is_done = retries, is_done
        self._attempts: Counter[str] = Counter()
        self._deaths: Counter[str] = Counter()
        self._encoding = Counter(task.group for task in tasks if task.kind == "encode")
        self._not_before: dict[str, float] = {}
        self._running = 0
        self._found: list[Event] = []

    def unfinished(self) -> int:
        """Return how many tasks wait or run."""
        return len(self._waiting) + self._running

    def is_empty(self) -> bool:
        """Tell whether every task has ended and was reported."""
        return not self.unfinished() and not self._found

    def take(self, last_group: str, others: Collection[str]) -> Task | None:
        """Return the next task for a worker, None where it has to wait.

        Runs wait for the features of their group.

        Args:
            last_group: what the worker has in memory: it goes on with that.
            others: the groups that other workers are at, which come last.
        """
        while (task := self._next(last_group, others)) is not None:
            self._waiting.remove(task)
            # a task that was tried may have its result from the process that was killed
            if task.kind == "run" and self._is_done(task):
                self._found.append(Event(task, Outcome("done", attempts=0)))
                continue
            self._running += 1
            self._attempts[task.name] += 1
            return task
        return None

    def found_done(self) -> Iterator[Event]:
        """Yield the runs whose result was there when they were to be started."""
        found, self._found = self._found, []
        yield from found

    def ended(self, task: Task, outcome: Outcome) -> Iterator[Event]:
        """Take note of the end of a task; yield it, unless it is to be started again."""
        self._running -= 1
        if outcome.state == "busy":
            self._not_before[task.name] = time.monotonic() + SECONDS_UNTIL_BUSY_AGAIN
            self._waiting.append(task)
            return
        if outcome.state == "died":
            self._deaths[task.name] += 1
            if self._deaths[task.name] <= self._retries:
                self._waiting.insert(0, task)
                return
        if task.kind == "encode":
            self._encoding[task.group] -= 1
        yield Event(task, replace(outcome, attempts=self._attempts[task.name]))

    def _next(self, last_group: str, others: Collection[str]) -> Task | None:
        now = time.monotonic()
        ready = [
            task
            for task in self._waiting
            if (task.kind == "encode" or not self._encoding[task.group])
            and self._not_before.get(task.name, 0.0) <= now
        ]
        return min(
            ready,
            key=lambda task: (task.group != last_group, task.group in others),
            default=None,
        )
