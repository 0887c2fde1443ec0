"""sweep.json, and what people see of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.sweep import table
from vtclip.sweep.conduct import Sweep
from vtclip.sweep.engines import Event, Outcome, Task
from vtclip.sweep.plan import PlannedRun
from vtclip.sweep.record import RunRecord, SweepRecord
from vtclip.sweep.table import seconds_left, summary_line, table_lines

RUN = RunRecord("output/a/seed1", "GDA", "digits", 4, 1, "ab", "python train.py --seed 1")


def measured(seconds: float, **changes: object) -> RunRecord:
    return replace(RUN, state="done", seconds=seconds, **changes)  # type: ignore[arg-type]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    failed = replace(RUN, state="failed", errors=["error: x"], attempts=2, worker="worker 1")
    SweepRecord(tmp_path / "sweep.json").note([failed])
    assert SweepRecord(tmp_path / "sweep.json").known() == [failed]


def test_two_sweeps_keep_each_others_runs(tmp_path: Path) -> None:
    one, other = (SweepRecord(tmp_path / "sweep.json") for _ in range(2))
    one.note([RUN])
    other.note([replace(RUN, folder="output/b/seed1")])
    one.note([replace(RUN, state="done")])
    states = {run.folder: run.state for run in SweepRecord(tmp_path / "sweep.json").known()}
    assert states == {"output/a/seed1": "done", "output/b/seed1": "planned"}


@pytest.mark.parametrize(
    "content",
    ["[]", "{", '{"schema": 1}', '{"schema": 2, "runs": []}', '{"schema": 1, "runs": [1]}'],
)
def test_a_file_that_is_no_record_is_kept_and_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"sweep\.json"):
        SweepRecord(path)
    assert path.read_text() == content


def test_a_wrong_value_in_a_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    SweepRecord(path).note([RUN])
    content = json.loads(path.read_text())
    content["runs"][0]["seconds"] = -1
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="seconds of run 0"):
        SweepRecord(path)


def test_what_is_left_comes_from_the_runs_most_alike() -> None:
    known = [
        measured(10.0),
        measured(30.0, seed=2),
        measured(100.0, shots=16),
        measured(7.0, method="VTCLIP", dataset="dtd"),
        # neither a failure nor an encoding says how long a run takes
        replace(measured(1e6), state="failed"),
        measured(1e6, method=""),
    ]
    assert seconds_left([RUN], known, 2) == 20.0
    # another number of shots: mean of the method on the dataset
    assert seconds_left([replace(RUN, shots=8)], known, 2) == pytest.approx(140 / 3)
    assert seconds_left([replace(RUN, method="VTCLIP")], known, 1) == 7.0
    assert seconds_left([replace(RUN, method="CoOp")], known, 1) == pytest.approx(147 / 4)
    assert seconds_left([RUN] * 3, known, 2) == 30.0
    assert seconds_left([RUN], [], 2) is None


def test_the_table_counts_every_run_once() -> None:
    runs = [
        replace(RUN, folder=str(number), state=state)
        for number, state in enumerate(["done", "skipped", "running", "failed", "died", "planned"])
    ]
    head, _, row, line = table_lines(runs, 120.0)
    assert head.split() == ["dataset", "done", "running", "failed", "left"]
    assert row.split() == ["digits", "2", "1", "2", "1"]
    assert line == "2 of 6 runs done (1 of them before), 1 running, 2 failed, about 2 min left"
    assert summary_line(runs[:2], 5.0) == "2 of 2 runs done (1 of them before)"


class FakeEngine:
    """Encodes, runs and lets a moment pass after each step."""

    def carry_out(
        self, tasks: Sequence[Task], is_done: Callable[[Task], bool]
    ) -> Iterator[Event | None]:
        for task in tasks:
            yield Event(task)
            yield None
            yield Event(task, Outcome("done"))
        yield None


def test_what_is_under_way_is_shown_as_time_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "SECONDS_BETWEEN_LINES", 0.0)
    runs = [
        PlannedRun(
            arguments=("--seed", str(seed)),
            folder=tmp_path / f"seed{seed}",
            method="GDA",
            backbone="tiny",
            dataset="digits",
            shots=4,
            seed=seed,
            has_images=True,
            digest="ab",
            used_shots=4,
            root=str(tmp_path),
            settings={},
        )
        for seed in (1, 2)
    ]
    sweep = Sweep(runs, SweepRecord(tmp_path / "sweep.json"), "python train.py")
    sweep.carry_out(FakeEngine(), workers=1)
    lines = [line.partition(", about")[0] for line in capsys.readouterr().out.splitlines()]
    assert list(dict.fromkeys(lines)) == [
        "0 of 2 runs done, encoding digits",
        "0 of 2 runs done",
        "0 of 2 runs done, 1 running",
        "1 of 2 runs done",
        "1 of 2 runs done, 1 running",
        "2 of 2 runs done",
    ]
