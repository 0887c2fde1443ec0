"""The engine of one machine: worker processes that share its cores and its GPUs."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vtclip.errors import UserError
from vtclip.sweep.engines import Event, Outcome, Resources, State, Task, last_lines
from vtclip.sweep.task_queue import TaskQueue

# with the folder of the command line at the head of the path, whichever folder it is started in
CODE = (
    "import sys; sys.path[0] = sys.argv[1]; from vtclip.sweep.worker import main; "
    "sys.exit(main(sys.argv[2:]))"
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# between looks at deadlines and at folders that other processes work in
TICK_S = 0.5
SECONDS_TO_SAVE = 20.0
SECONDS_TO_END = 5.0


def local_engine(folder: Path, resources: Resources, workers: int = 0) -> tuple[LocalEngine, int]:
    """Return the engine of this machine, and how many runs it carries out side by side.

    Args:
        folder: of train.py.
        resources: of a run.
        workers: how many at most; 0 for as many as fit.

    Raises:
        UserError: not even one fits.
    """
    devices = visible_devices()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    fitting = worker_count(resources, own_cores(), len(devices), memory)
    count = min(workers, fitting) if workers else fitting
    return LocalEngine(count, resources, folder, devices=devices), count


def own_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_devices() -> list[str]:
    """Return the GPUs of this process, as in CUDA_VISIBLE_DEVICES."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def worker_count(resources: Resources, cores: int, gpus: int, memory_gb: float) -> int:
    """Return how many runs fit side by side on a machine.

    Args:
        resources: of a run.
        cores, gpus, memory_gb: of the machine.

    Raises:
        UserError: not even one fits.

    >>> worker_count(Resources(cpus=2), 8, 0, 32.0)
    4
    >>> worker_count(Resources(gpus=0.5), 16, 2, 64.0)
    4
    """
    if resources.cpus > cores:
        raise UserError(f"--cpus {resources.cpus}: this machine has {cores} cores.")
    limits = [cores // resources.cpus]
    share = share_of_gpu(resources, gpus)
    if share:
        if not gpus:
            raise UserError(f"--gpus {share:g}: this machine has no GPU that torch can use.")
        limits.append(gpus * per_gpu(share))
    if resources.memory_gb:
        if resources.memory_gb > memory_gb:
            raise UserError(f"--memory {resources.memory_gb:g}: this machine has {memory_gb:.1f}.")
        limits.append(int(memory_gb // resources.memory_gb))
    return min(limits)


def share_of_gpu(resources: Resources, gpus: int) -> float:
    """Return the share of a GPU that a run gets, 0 for none."""
    return float(gpus > 0) if resources.gpus is None else resources.gpus


def per_gpu(share: float) -> int:
    """Return how many runs share a GPU.

    >>> [per_gpu(share) for share in (1.0, 0.5, 0.1)]
    [1, 2, 10]
    """
    return max(1, int(1 / share + 1e-6))


def environment_of(
    number: int, resources: Resources, devices: Sequence[str], inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a worker: its threads and its GPU.

    Args:
        number: of the worker, from 0.
        resources: of a run.
        devices: the GPUs, as in CUDA_VISIBLE_DEVICES.
        inherited: the environment of the sweep; a number of threads that it sets stays.
    """
    own = dict(inherited)
    if not any(name in inherited for name in THREADS):
        own |= dict.fromkeys(THREADS, str(resources.cpus))
    if share := share_of_gpu(resources, len(devices)):
        own["CUDA_VISIBLE_DEVICES"] = devices[number // per_gpu(share) % len(devices)]
    elif devices:
        own["CUDA_VISIBLE_DEVICES"] = ""
    return own


@dataclass
class _Worker:
    """A worker process.

    Attributes:
        name: for people.
        process: it.
        errors: its standard error.
        is_ready: it has said that it takes tasks.
        task, started: what it does, and since when.
        ended: the state of a task that the engine has ended.
    """

    name: str
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    is_ready: bool = False
    task: Task | None = None
    started: float = 0.0
    ended: State | None = None
    unread: bytes = b""
    last_group: str = ""

    def give(self, task: Task) -> None:
        """Send a task."""
        # the process writes where this end has left off
        self.errors.seek(0)
        self.errors.truncate()
        self.task, self.started, self.ended = task, time.monotonic(), None
        self.last_group = task.group
        assert self.process.stdin is not None
        message = {"kind": task.kind, "arguments": task.arguments, "part": task.part}
        line = json.dumps(message) + "\n"
        # one that has just died is seen by the end of its output
        with suppress(BrokenPipeError):
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()

    def answers(self) -> list[dict[str, Any]] | None:
        """Return what it has said since the last time, None where it has ended."""
        assert self.process.stdout is not None
        read = os.read(self.process.stdout.fileno(), 1 << 16)
        if not read:
            return None
        *lines, self.unread = (self.unread + read).split(b"\n")
        return [json.loads(line) for line in lines]

    def error_lines(self) -> tuple[str, ...]:
        """Return the last lines of its errors."""
        self.errors.seek(0)
        return last_lines(self.errors.read().decode("utf-8", "replace"))

    def kill(self) -> None:
        """End it and its children at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@dataclass
class LocalEngine:
    """Runs side by side in worker processes of this machine.

    Attributes:
        workers: how many.
        resources: of a run.
        folder: of train.py.
        command: the module of train.py's functions.
        devices: the GPUs, as in CUDA_VISIBLE_DEVICES.
    """

    workers: int
    resources: Resources
    folder: Path
    command: str = "vtclip.commands.train"
    devices: Sequence[str] = ()

    def carry_out(
        self, tasks: Sequence[Task], is_done: Callable[[Task], bool]
    ) -> Iterator[Event | None]:
        """See :class:`vtclip.sweep.engines.Engine`."""
        waiting = TaskQueue(tasks, self.resources.retries, is_done)
        pool: dict[int, _Worker] = {}
        with selectors.DefaultSelector() as ready:
            try:
                while not waiting.is_empty():
                    self._fill(pool, ready, waiting)
                    yield from self._hand_out(pool, waiting)
                    yield from waiting.found_done()
                    for key, _ in ready.select(TICK_S):
                        yield from self._hear(pool, key.data, ready, waiting)
                    self._end_late(pool)
                    yield None
            finally:
                _end_all(pool.values())

    def _fill(
        self, pool: dict[int, _Worker], ready: selectors.BaseSelector, waiting: TaskQueue
    ) -> None:
        """Start workers, as long as there are tasks for them."""
        wanted = min(self.workers, waiting.unfinished())
        for number in range(self.workers):
            if len(pool) < wanted and number not in pool:
                pool[number] = self._start(number)
                stdout = pool[number].process.stdout
                assert stdout is not None
                ready.register(stdout, selectors.EVENT_READ, number)

    def _start(self, number: int) -> _Worker:
        errors = tempfile.TemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(self.folder), self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment_of(number, self.resources, self.devices, os.environ),
            # it is ended with its children, and Ctrl-C goes to the sweep alone
            start_new_session=True,
        )
        return _Worker(f"worker {number + 1}", process, errors)

    def _hand_out(self, pool: Mapping[int, _Worker], waiting: TaskQueue) -> Iterator[Event]:
        for worker in pool.values():
            if worker.is_ready and worker.task is None:
                busy_groups = {w.task.group for w in pool.values() if w.task is not None}
                task = waiting.take(worker.last_group, busy_groups)
                if task is not None:
                    worker.give(task)
                    yield Event(task)

    def _hear(
        self,
        pool: dict[int, _Worker],
        number: int,
        ready: selectors.BaseSelector,
        waiting: TaskQueue,
    ) -> Iterator[Event]:
        worker = pool[number]
        answers = worker.answers()
        for answer in answers or ():
            worker.is_ready = True
            if answer and worker.task is not None:
                lines = () if answer["state"] == "done" else worker.error_lines()
                outcome = Outcome(
                    answer["state"],
                    answer["seconds"],
                    lines,
                    worker=worker.name,
                    measures=answer["measures"],
                )
                task, worker.task = worker.task, None
                yield from waiting.ended(task, outcome)
        if answers is None:
            stdout = worker.process.stdout
            assert stdout is not None
            ready.unregister(stdout)
            del pool[number]
            # its output ends a moment before its process
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(SECONDS_TO_END)
            # and what it has started, such as processes that read images
            worker.kill()
            yield from self._bury(worker, waiting)

    def _bury(self, worker: _Worker, waiting: TaskQueue) -> Iterator[Event]:
        """Say what became of the task of a worker that has ended.

        Raises:
            UserError: it never came to work.
        """
        code = worker.process.wait()
        lines = worker.error_lines()
        _close(worker)
        if worker.task is None:
            if not worker.is_ready:
                raise UserError(f"a worker could not start: {' '.join(lines[-1:]) or code}.")
            return
        state: State = worker.ended or ("died" if code < 0 or code > 128 else "failed")
        if state == "died":
            number = -code if code < 0 else code - 128
            lines = (*lines, f"the process was killed ({signal.Signals(number).name})")
        elif state == "timeout":
            lines = (*lines, f"ended after {self.resources.timeout:g} s (--timeout)")
        seconds = time.monotonic() - worker.started
        yield from waiting.ended(worker.task, Outcome(state, seconds, lines, worker=worker.name))

    def _end_late(self, pool: Mapping[int, _Worker]) -> None:
        if not self.resources.timeout:
            return
        for worker in pool.values():
            late = time.monotonic() - worker.started > self.resources.timeout
            if worker.task is not None and worker.task.kind == "run" and late:
                worker.ended = "timeout"
                worker.kill()


def _end_all(workers: Iterable[_Worker]) -> None:
    """End workers: an idle one at once, others after they have saved their state."""
    living = list(workers)
    for worker in living:
        with suppress(ProcessLookupError):
            worker.process.terminate()
    deadline = time.monotonic() + SECONDS_TO_SAVE
    for worker in living:
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        worker.kill()
        worker.process.wait()
        _close(worker)


def _close(worker: _Worker) -> None:
    for stream in (worker.process.stdin, worker.process.stdout, worker.errors):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
