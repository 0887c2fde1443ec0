"""The order of tasks, and which of them are started again."""

from __future__ import annotations

import pytest

from vtclip.sweep import task_queue
from vtclip.sweep.engines import Outcome, Task
from vtclip.sweep.task_queue import TaskQueue

A1, A2, B1 = (Task(name, name[0], "run", ((name,),)) for name in ("a1", "a2", "b1"))
ENCODE = Task("encode a", "a", "encode", (("a1",), ("a2",)))


def queue(*tasks: Task, retries: int = 1, done: tuple[Task, ...] = ()) -> TaskQueue:
    return TaskQueue(tasks, retries, lambda task: task in done)


def test_runs_wait_for_the_features_of_their_dataset() -> None:
    waiting = queue(ENCODE, A1, B1)
    assert waiting.take("", ()) == ENCODE
    assert waiting.take("a", ()) == B1
    assert waiting.take("a", ()) is None
    list(waiting.ended(ENCODE, Outcome("failed")))
    assert waiting.take("b", ()) == A1


def test_a_worker_stays_with_what_it_has_in_memory() -> None:
    assert queue(A1, B1).take("b", ()) == B1
    assert queue(A1, B1).take("", ("a",)) == B1
    assert queue(A1, A2).take("b", ("a",)) == A1


def test_a_killed_task_is_tried_again_so_often() -> None:
    waiting = queue(A1, A2, retries=1)
    assert waiting.take("", ()) == A1
    assert list(waiting.ended(A1, Outcome("died"))) == []
    assert waiting.take("", ()) == A1
    (event,) = waiting.ended(A1, Outcome("died"))
    assert event.outcome == Outcome("died", attempts=2)
    assert waiting.unfinished() == 1


def test_a_task_that_failed_by_itself_is_not_tried_again() -> None:
    waiting = queue(A1, retries=5)
    waiting.take("", ())
    (event,) = waiting.ended(A1, Outcome("failed"))
    assert event.outcome is not None
    assert event.outcome.attempts == 1
    assert waiting.is_empty()


def test_a_folder_in_use_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_queue, "SECONDS_UNTIL_BUSY_AGAIN", 3600.0)
    waiting = queue(A1, retries=0)
    waiting.take("", ())
    assert list(waiting.ended(A1, Outcome("busy"))) == []
    assert waiting.take("", ()) is None
    assert not waiting.is_empty()


def test_what_another_process_has_done_is_not_run() -> None:
    waiting = queue(A1, A2, done=(A1,))
    assert waiting.take("", ()) == A2
    (found,) = waiting.found_done()
    assert (found.task, found.outcome) == (A1, Outcome("done", attempts=0))
