"""The engine of many machines: runs on a Ray cluster (package ray, extra [sweep]).

Each run of the cluster's capacity has an actor, a process that carries out run after run. Every
node needs this project, the data, the feature cache and the output folder of the sweep at the same
paths, on a disk that all of them share: results and locks of runs are there, so that a sweep on a
cluster leaves the same as one on a machine.
"""

from __future__ import annotations

import importlib
import io
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vtclip.errors import UserError
from vtclip.extras import absent_line
from vtclip.sweep.engines import Event, Outcome, Resources, Task, last_lines
from vtclip.sweep.local import per_gpu
from vtclip.sweep.task_queue import TaskQueue

TICK_S = 0.5
# of actors, one after the other: nodes may go while some start
MOST_FAILED_STARTS = 10


class Actor:
    """A process of the cluster that carries out runs.

    Args:
        folder: of train.py.
        command: the module of train.py's functions.
        here: where the sweep was started, which relative paths are of.
    """

    def __init__(self, folder: str, command: str, here: str) -> None:
        from vtclip.checkout import put_first
        from vtclip.sweep.between_runs import shared

        os.chdir(here)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        put_first()
        self._command: Any = importlib.import_module(command)
        self._shared = ExitStack()
        self._shared.enter_context(shared())

    def host(self) -> str:
        """Return the name of the machine."""
        return socket.gethostname()

    def carry_out(
        self, kind: str, arguments: Sequence[Sequence[str]], part: tuple[int, int]
    ) -> Outcome:
        """Carry a task out (see :func:`vtclip.sweep.worker.carry_out`)."""
        from vtclip.sweep.worker import carry_out

        errors = io.StringIO()
        with (
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            redirect_stdout(nowhere),
            redirect_stderr(errors),
        ):
            outcome = carry_out(self._command, kind, arguments, part)
        lines = () if outcome.state == "done" else last_lines(errors.getvalue())
        return replace(outcome, lines=lines)


@dataclass
class _Place:
    """An actor and what it does.

    Attributes:
        actor: its handle.
        answer: what it is asked for: its host at first, then a task.
        host: its machine, "" before it has started.
        task, started: what it does, and since when.
        last_group: what it has in memory.
    """

    actor: Any
    answer: Any
    host: str = ""
    task: Task | None = None
    started: float = 0.0
    last_group: str = ""


@dataclass
class RayEngine:
    """Runs side by side in the processes of a Ray cluster.

    Attributes:
        ray: the module, connected to the cluster.
        resources: of a run.
        folder: of train.py, the same on every node.
        at_most: how many runs side by side; 0 for as many as fit.
        command: the module of train.py's functions.
    """

    ray: Any
    resources: Resources
    folder: Path
    at_most: int = 0
    command: str = "vtclip.commands.train"
    _failed_starts: int = 0

    def capacity(self) -> int:
        """Return how many runs the cluster has room for now."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        room = sum(room_on(node, self.resources, self._gpus()) for node in nodes)
        return min(room, self.at_most) if self.at_most else room

    def _gpus(self) -> float:
        if self.resources.gpus is not None:
            return self.resources.gpus
        return float(self.ray.cluster_resources().get("GPU", 0) > 0)

    def carry_out(
        self, tasks: Sequence[Task], is_done: Callable[[Task], bool]
    ) -> Iterator[Event | None]:
        """See :class:`vtclip.sweep.engines.Engine`."""
        waiting = TaskQueue(tasks, self.resources.retries, is_done)
        places: list[_Place] = []
        self._failed_starts = 0
        try:
            while not waiting.is_empty():
                # nodes come and go
                for _ in range(len(places), min(self.capacity(), waiting.unfinished())):
                    places.append(self._start())
                for place in places:
                    if place.host and place.task is None:
                        yield from self._give(place, places, waiting)
                yield from waiting.found_done()
                yield from self._hear(places, waiting)
                yield from self._end_late(places, waiting)
                yield None
        finally:
            for place in places:
                self.ray.kill(place.actor)

    def _start(self) -> _Place:
        memory_bytes = int(self.resources.memory_gb * 2**30)
        memory = {"memory": memory_bytes} if memory_bytes else {}
        path = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        threads = os.environ.get("OMP_NUM_THREADS", str(self.resources.cpus))
        # where data and caches are; a worker has the variables of its node else
        own = {k: v for k, v in os.environ.items() if k == "DATA" or k.startswith("VTCLIP_")}
        remote = self.ray.remote(Actor).options(
            num_cpus=self.resources.cpus,
            num_gpus=self._gpus(),
            max_restarts=0,
            runtime_env={"env_vars": {**own, "PYTHONPATH": path, "OMP_NUM_THREADS": threads}},
            **memory,
        )
        actor = remote.remote(str(self.folder), self.command, str(Path.cwd()))
        return _Place(actor, actor.host.remote())

    def _give(self, place: _Place, places: Sequence[_Place], waiting: TaskQueue) -> Iterator[Event]:
        others = {other.task.group for other in places if other.task is not None}
        task = waiting.take(place.last_group, others)
        if task is not None:
            place.task, place.last_group, place.started = task, task.group, time.monotonic()
            place.answer = place.actor.carry_out.remote(task.kind, task.arguments, task.part)
            yield Event(task)

    def _hear(self, places: list[_Place], waiting: TaskQueue) -> Iterator[Event]:
        asked = {place.answer: place for place in places if place.task or not place.host}
        if not asked:
            time.sleep(TICK_S)
            return
        ready, _ = self.ray.wait(list(asked), num_returns=1, timeout=TICK_S)
        for answer in ready:
            place = asked[answer]
            try:
                said = self.ray.get(answer)
            except self.ray.exceptions.RayTaskError as error:
                # an error of the run that nobody foresaw: the process may be in any state
                yield from self._bury(
                    place, places, waiting, Outcome("failed", lines=last_lines(str(error)))
                )
            except self.ray.exceptions.RayError as error:
                # killed, out of memory, or its node is gone
                reason = " ".join(str(error).split())[:300]
                yield from self._bury(place, places, waiting, Outcome("died", lines=(reason,)))
            else:
                if place.task is None:
                    place.host, self._failed_starts = said, 0
                else:
                    task, place.task = place.task, None
                    yield from waiting.ended(task, replace(said, worker=place.host))

    def _bury(
        self, place: _Place, places: list[_Place], waiting: TaskQueue, outcome: Outcome
    ) -> Iterator[Event]:
        """Give up an actor, and say what became of its task.

        Raises:
            UserError: it could not even start.
        """
        places.remove(place)
        self.ray.kill(place.actor)
        if place.task is None:
            self._failed_starts += 1
            if outcome.state == "failed" or self._failed_starts > MOST_FAILED_STARTS:
                raise UserError(f"a worker could not start: {' '.join(outcome.lines[-1:])}.")
            return
        seconds = time.monotonic() - place.started
        outcome = replace(outcome, seconds=seconds, worker=place.host)
        yield from waiting.ended(place.task, outcome)

    def _end_late(self, places: list[_Place], waiting: TaskQueue) -> Iterator[Event]:
        limit = self.resources.timeout
        running = [p for p in places if p.task is not None and p.task.kind == "run"]
        for place in running if limit else ():
            if time.monotonic() - place.started > limit:
                line = f"ended after {limit:g} s (--timeout)"
                yield from self._bury(place, places, waiting, Outcome("timeout", lines=(line,)))


def room_on(node: Mapping[str, float], resources: Resources, share: float) -> int:
    """Return how many runs a node has room for.

    Args:
        node: its "CPU", "GPU" and "memory" (bytes), as Ray names them.
        resources: of a run.
        share: of a GPU for a run, 0 for none.

    >>> room_on({"CPU": 8.0, "GPU": 2.0}, Resources(cpus=2), 0.6)
    2
    """
    limits = [int(node.get("CPU", 0) // resources.cpus)]
    if share:
        limits.append(int(node.get("GPU", 0)) * per_gpu(share))
    if resources.memory_gb:
        limits.append(int(node.get("memory", 0) // (resources.memory_gb * 2**30)))
    return min(limits)


def ray_engine(
    folder: Path, resources: Resources, at_most: int, address: str
) -> tuple[RayEngine, int]:
    """Connect to a cluster; return its engine, and how many runs fit side by side.

    Args:
        folder: of train.py.
        resources: of a run.
        at_most: how many runs side by side; 0 for as many as fit.
        address: "auto" for the cluster that this machine is of, "local" for a new one on this
            machine alone, or HOST:PORT.

    Raises:
        UserError: Ray is not installed, there is no cluster, or no run fits into it.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise UserError(absent_line("sweep", "--engine ray", ["ray"])) from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError) as error:
        reason = str(error).split(". ")[0]
        raise UserError(
            f"--address {address}: no Ray cluster there ({reason}); start one by `ray start "
            "--head`, or give --address local."
        ) from error
    engine = RayEngine(ray, resources, folder, at_most)
    fitting = engine.capacity()
    if fitting < 1:
        raise UserError(
            f"--cpus {resources.cpus}, --gpus, --memory: no node of the cluster at {address} has "
            "room for a run."
        )
    return engine, fitting
