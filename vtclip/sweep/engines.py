"""What an engine is: it carries tasks out somewhere and reports what becomes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["encode", "run"]
# busy: another process is at work in the folder; the engine tries again later
State = Literal["done", "busy", "failed", "timeout", "died"]


@dataclass(frozen=True)
class Task:
    """A piece of work for one process.

    Attributes:
        name: what tells it from other tasks: the folder of a run.
        group: tasks of a group share features, so a worker takes them one after the other; those of
            the kind "encode" come first.
        kind: "run" carries out a run, "encode" computes the features that runs of the group share.
        arguments: of train.py; of "encode" those of several runs.
        part: (i, n): of an "encode", the i-th of n parts of the images, from 0.
    """

    name: str
    group: str
    kind: Kind
    arguments: tuple[tuple[str, ...], ...]
    part: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        state: "failed": it ended with an error of its own; "died": its process was killed.
        seconds: of the last attempt.
        lines: the last lines of its errors.
        attempts: how often it was started.
        worker: the name of the worker.
        measures: of an "encode" (see :func:`vtclip.sweep.encoding.encode`).
    """

    state: State
    seconds: float = 0.0
    lines: tuple[str, ...] = ()
    attempts: int = 1
    worker: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """A task was started (no outcome), or has ended."""

    task: Task
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Resources:
    """What a run may use.

    Attributes:
        cpus: cores.
        gpus: a share of a GPU, above 0 to 1; 0 for none; None for a whole one where there is one.
        memory_gb: memory; 0 for no limit on how many runs share it.
        timeout: seconds after which a run is ended; 0 for never.
        retries: how often a run whose process was killed is started again.
    """

    cpus: int = 1
    gpus: float | None = None
    memory_gb: float = 0.0
    timeout: float = 0.0
    retries: int = 2


class Engine(Protocol):
    """Carries out tasks."""

    def carry_out(
        self, tasks: Sequence[Task], is_done: Callable[[Task], bool]
    ) -> Iterator[Event | None]:
        """Yield what happens until every task has ended; end all processes on the way out.

        None says that time has passed.

        Args:
            tasks: each is started once, and again after a worker's death or where another process
                was at work in its folder.
            is_done: tells, just before a run is started, whether its result is there meanwhile.

        Raises:
            UserError: the engine cannot work.
        """


LINES_SHOWN = 8


def last_lines(text: str) -> tuple[str, ...]:
    """Return the last lines of a text that are not empty."""
    return tuple([line for line in text.splitlines() if line.strip()][-LINES_SHOWN:])
