"""sweep.json: what became of every run, written whole after each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from vtclip.errors import UserError
from vtclip.expectations import (
    AMOUNT,
    LINE,
    TEXT,
    Expectation,
    list_of,
    mapping_of,
    one_of,
    whole_number,
)
from vtclip.files import read_json, write_json

SCHEMA = 1
STATES = ("planned", "running", "done", "skipped", "failed", "timeout", "died")


@dataclass(frozen=True)
class RunRecord:
    """What became of a run, or of the encoding of a dataset.

    Attributes:
        folder: of the run; "encode DATASET" for an encoding.
        method, dataset, shots, seed: of the run; an encoding has no method, 0 shots and seed 0.
        digest: of the settings (see :class:`vtclip.sweep.plan.PlannedRun`).
        command: what repeats the run.
        state: "skipped": it had a result already.
        seconds: of the last attempt.
        attempts: how often it was started.
        worker: which worker carried it out.
        images: of an encoding.
        errors: the last lines of its errors.
        backbone: its name.
        measures: seconds by part and the sizes they depend on: of a run see
            :func:`vtclip.sweep.measures.measures_of`, of an encoding
            :func:`vtclip.sweep.encoding.encode`.
    """

    folder: str
    method: str
    dataset: str
    shots: int
    seed: int
    digest: str
    command: str
    state: str = "planned"
    seconds: float = 0.0
    attempts: int = 0
    worker: str = ""
    images: int = 0
    errors: list[str] = field(default_factory=list)
    backbone: str = ""
    measures: dict[str, float] = field(default_factory=dict)


EXPECTED: dict[str, Expectation] = {
    **dict.fromkeys(("folder", "method", "dataset", "digest", "command", "worker"), LINE),
    "shots": whole_number(-1),
    "seed": whole_number(-1),
    "state": one_of(*STATES),
    "seconds": AMOUNT,
    "attempts": whole_number(0),
    "images": whole_number(0),
    "errors": list_of(TEXT),
    "backbone": LINE,
    "measures": mapping_of(AMOUNT),
}


class SweepRecord:
    """The records of all sweeps that share a file; several may write it at once.

    Args:
        path: the file, which need not be there.

    Raises:
        UserError: it is there and no record of sweeps.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own: dict[str, RunRecord] = {}
        self._all = self._read()

    def __getitem__(self, folder: str) -> RunRecord:
        """Return the record of a run."""
        return self._all[folder]

    def known(self) -> list[RunRecord]:
        """Return all records, also those of earlier sweeps."""
        return list(self._all.values())

    def note(self, records: Iterable[RunRecord]) -> None:
        """Take records in the place of earlier ones of the same folders, and write the file.

        What another sweep has written meanwhile of its own runs is kept.

        Raises:
            UserError: the file cannot be written.
        """
        self._own |= {record.folder: record for record in records}
        self._all |= self._own
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{self.path.name}.lock")):
                self._all = self._read() | self._own
                runs = [asdict(record) for record in self._all.values()]
                write_json(self.path, {"schema": SCHEMA, "runs": runs})
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}).") from error

    def _read(self) -> dict[str, RunRecord]:
        if not self.path.exists():
            return {}
        raw: Any = read_json(self.path)
        runs = raw.get("runs") if isinstance(raw, dict) else None
        if not isinstance(runs, list) or raw.get("schema") != SCHEMA:
            raise UserError(
                f"{self.path}: no record of sweeps of schema {SCHEMA}; move it away, or name "
                "another --record."
            )
        found = {}
        for number, written in enumerate(runs):
            # records of earlier versions have none of these
            run = {"backbone": "", "measures": {}, **written} if isinstance(written, dict) else {}
            for name, expected in EXPECTED.items():
                if not expected.holds(run.get(name)):
                    raise UserError(
                        f"{self.path}: {name} of run {number} is not {expected.words}; move the "
                        "file away."
                    )
            found[run["folder"]] = RunRecord(**{name: run[name] for name in EXPECTED})
        return found
