"""A process that carries out task after task.

Torch, the backbone and the features of a dataset are loaded once. Tasks come as lines of JSON on
standard input, and what became of each goes as a line to standard output; what a run prints goes
nowhere but to its log.txt, and its errors to standard error. Where the other end has gone, the
process and its children end.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

from vtclip.errors import UserError, run_command
from vtclip.run_folder import FolderInUse
from vtclip.sweep.engines import Outcome, State

# what an ended run may take to save its state
SECONDS_TO_SAVE = 20.0


class CommandLine(Protocol):
    """What a worker uses of train.py."""

    parse_args: Callable[[list[str]], Any]
    plan_of: Callable[[Any], Any]
    run: Callable[[Any], None]


def carry_out(
    command: CommandLine,
    kind: str,
    arguments: Sequence[Sequence[str]],
    part: tuple[int, int] = (0, 1),
) -> Outcome:
    """Carry a task out in this process, as train.py would in its own.

    Args:
        command: train.py.
        kind: of the task.
        arguments: of train.py, for each run of the task.
        part: of an "encode" (see :class:`vtclip.sweep.engines.Task`).

    Raises:
        SystemExit: a signal has ended the task.
    """
    from vtclip.sweep.between_runs import afresh
    from vtclip.sweep.encoding import encode

    measures: dict[str, float] = {}
    is_busy = False

    def work() -> None:
        nonlocal measures, is_busy
        parsed = [command.parse_args(list(words)) for words in arguments]
        try:
            if kind == "encode":
                measures = encode(command.plan_of, parsed, part)
                return
            for one in parsed:
                command.run(one)
        except FolderInUse:
            is_busy = True
            raise
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                "no memory is left for the run; let fewer run side by side (--workers, --memory)."
            ) from error

    started = time.perf_counter()
    with afresh():
        code = run_command(work)
    if code > 128:
        sys.exit(code)
    state: State = "done" if code == 0 else "busy" if is_busy else "failed"
    return Outcome(state, time.perf_counter() - started, measures=measures)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory is used up, of the machine or of a GPU.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    import torch

    # on a CPU torch says so in words alone
    in_words = "can't allocate memory" in str(error) or "not enough memory" in str(error)
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or in_words


def serve(command: CommandLine) -> None:
    """Carry out what comes on standard input until it is closed."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # a run and what it starts have the console of a process without one
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(tasks,), daemon=True).start()
    replies.write("{}\n")
    replies.flush()
    for line in iter(tasks.get, ""):
        task = json.loads(line)
        outcome = carry_out(command, task["kind"], task["arguments"], task["part"])
        answer = {
            "state": outcome.state,
            "seconds": outcome.seconds,
            "measures": dict(outcome.measures),
        }
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def _receive(tasks: queue.SimpleQueue[str]) -> None:
    """Pass tasks on; end the process where nobody is left to give any."""
    # no file object: the interpreter aborts where it ends while a thread reads from one
    unread = b""
    while read := os.read(0, 1 << 16):
        *lines, unread = (unread + read).split(b"\n")
        for line in lines:
            tasks.put(line.decode())
    tasks.put("")
    # a run in progress saves its state, unless it hangs
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_SAVE)
    os.killpg(0, signal.SIGKILL)


def main(argv: Sequence[str]) -> int:
    """Serve with the module of train.py's functions that the argument names."""
    from vtclip.checkout import put_first
    from vtclip.sweep.between_runs import shared

    put_first()
    command: Any = import_module(argv[0])
    with shared():
        return run_command(lambda: serve(command))
