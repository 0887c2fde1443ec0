"""A sweep from its plan to its end: tasks to an engine, events to the record and to the screen."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from vtclip.errors import UserError
from vtclip.interruption import Interrupted
from vtclip.sweep.engines import Engine, Event, Task
from vtclip.sweep.measures import measures_of
from vtclip.sweep.plan import PlannedRun
from vtclip.sweep.record import RunRecord, SweepRecord
from vtclip.sweep.table import FAILED, FINISHED, LiveTable, seconds_left, summary_line

# of the images of a dataset: every part reads the lists and builds the backbone once more
MOST_PARTS = 8


class Sweep:
    """The runs of a sweep and what has become of them.

    Args:
        runs: those of this sweep.
        record: where it is kept.
        call: the words of a shell that call train.py.
    """

    def __init__(self, runs: Sequence[PlannedRun], record: SweepRecord, call: str) -> None:
        self._planned = {str(run.folder): run for run in runs}
        self._record = record
        self._call = call
        self._is_written = True
        earlier = {one.folder: one for one in record.known()}
        self.runs = {
            name: self._first_record(run, earlier.get(name)) for name, run in self._planned.items()
        }
        self._encoding: set[Task] = set()

    def _first_record(self, run: PlannedRun, known: RunRecord | None) -> RunRecord:
        planned = RunRecord(
            folder=str(run.folder),
            method=run.method,
            dataset=run.dataset,
            shots=run.shots,
            seed=run.seed,
            digest=run.digest,
            backbone=run.backbone,
            command=f"{self._call} {shlex.join(run.arguments)}",
        )
        if not has_result(run):
            return planned
        # what an earlier sweep has measured stays
        if known is None or known.digest != run.digest:
            return replace(planned, state="skipped", measures=measures_of(run.folder))
        return replace(
            planned, state="skipped", seconds=known.seconds, measures=measures_of(run.folder)
        )

    def tasks(self, parts: int = 1) -> list[Task]:
        """Return what is left to do: of each dataset first the features that its runs share.

        Args:
            parts: into how many the images of a dataset are split.
        """
        open_runs = [self._planned[name] for name in self._names("planned")]
        tasks: list[Task] = []
        for dataset in dict.fromkeys(run.dataset for run in open_runs):
            own = [run for run in open_runs if run.dataset == dataset]
            # one run of each method, since methods differ in the kind of features that they use
            first = {run.method: run.arguments for run in reversed(own)}
            if len(own) > 1 and own[0].has_images:
                arguments = tuple(reversed(first.values()))
                for number in range(parts):
                    name = f"encode {dataset} ({own[0].backbone})"
                    if parts > 1:
                        name += f", part {number + 1} of {parts}"
                    tasks.append(Task(name, dataset, "encode", arguments, (number, parts)))
            tasks += [Task(str(run.folder), dataset, "run", (run.arguments,)) for run in own]
        return tasks

    def carry_out(self, engine: Engine, workers: int) -> None:
        """Carry out what has no result yet.

        Args:
            engine: which does it.
            workers: how many runs it carries out side by side.

        Raises:
            Interrupted: says what is done.
        """
        tasks = self.tasks(min(workers, MOST_PARTS))
        self._note(list(self.runs.values()))
        table = LiveTable()
        earlier = [run for run in self._record.known() if run.folder not in self.runs]
        try:
            with closing(engine.carry_out(tasks, self._is_done)) as events:  # type: ignore[type-var]
                for event in events:
                    if event is not None:
                        self._take(event, table)
                    if table.is_due():
                        open_runs = [self.runs[name] for name in self._names("planned", "running")]
                        measured = [*self.runs.values(), *earlier]
                        left = seconds_left(open_runs, measured, workers)
                        encoding = {task.group for task in self._encoding}
                        table.show(list(self.runs.values()), left, encoding)
        except KeyboardInterrupt as error:
            running = [replace(self.runs[n], state="planned") for n in self._names("running")]
            self.runs |= {run.folder: run for run in running}
            table.hide()
            self._note(running)
            number = {"number": error.number} if isinstance(error, Interrupted) else {}
            done = summary_line(list(self.runs.values()), None)
            raise Interrupted(**number, outcome=f"{done}; the same command goes on") from None
        finally:
            table.hide()

    def failures(self) -> list[RunRecord]:
        """Return the runs that have failed."""
        return [self.runs[name] for name in self._names(*FAILED)]

    def folders_with_results(self) -> list[Path]:
        """Return the folders of the runs that are done."""
        return [Path(name) for name in self._names(*FINISHED)]

    def summary(self) -> str:
        """Return what has become of the runs, in one line."""
        return summary_line(list(self.runs.values()), None)

    def _names(self, *states: str) -> list[str]:
        return [name for name, run in self.runs.items() if run.state in states]

    def _is_done(self, task: Task) -> bool:
        return has_result(self._planned[task.name])

    def _take(self, event: Event, table: LiveTable) -> None:
        task, outcome = event.task, event.outcome
        if task.kind == "encode":
            backbone = next(run.backbone for run in self.runs.values() if run.dataset == task.group)
            before = RunRecord(task.name, "", task.group, 0, 0, "", "", backbone=backbone)
            (self._encoding.add if outcome is None else self._encoding.discard)(task)
        else:
            before = self.runs[task.name]
        if outcome is None:
            now = replace(before, state="running")
        else:
            state = "skipped" if not outcome.attempts else outcome.state
            now = replace(
                before,
                state=state,
                seconds=round(outcome.seconds, 3) if outcome.attempts else before.seconds,
                attempts=outcome.attempts,
                worker=outcome.worker,
                images=int(outcome.measures.get("images", 0)),
                measures=dict(outcome.measures),
                errors=list(outcome.lines),
            )
        if task.kind == "run":
            if now.state in FINISHED:
                now = replace(now, measures=measures_of(self._planned[task.name].folder))
            self.runs[task.name] = now
        if outcome is not None:
            self._note([now])
            if now.state in FAILED:
                table.say(f"{now.state}: {task.name}: {' '.join(now.errors[-1:])}")

    def _note(self, records: Sequence[RunRecord]) -> None:
        """Write the record; a disk that is full is told once, for the results count."""
        try:
            self._record.note(records)
        except UserError as error:
            if self._is_written:
                print(f"{error} The sweep goes on without it.", flush=True)
            self._is_written = False


def has_result(run: PlannedRun) -> bool:
    """Tell whether a run has its result; train.py tells of one that cannot be read."""
    try:
        return run.has_result()
    except UserError:
        return False


def failure_lines(failures: Sequence[RunRecord]) -> list[str]:
    """Return what failed: the last lines of each failure and what repeats it.

    Runs that ended with the same lines are told together.
    """
    by_errors: dict[tuple[str, ...], list[RunRecord]] = {}
    for run in failures:
        by_errors.setdefault((run.state, *run.errors), []).append(run)
    lines: list[str] = []
    for (state, *errors), runs in by_errors.items():
        lines.append(f"{state}, {len(runs)} run{'s' if len(runs) > 1 else ''}:")
        lines += [f"    {line}" for line in errors]
        lines += [f"  repeat: {run.command}" for run in runs]
    return lines
