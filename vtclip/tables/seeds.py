"""The result of one seed: from result.json in full precision, else from its newest finished log."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtclip.errors import UserError
from vtclip.results import RESULT_FILE, NotAResult, Result, read_result
from vtclip.tables.logs import log_files, read_log
from vtclip.tables.metrics import METRICS, why_unknown


@dataclass(frozen=True)
class Seed:
    """A finished seed.

    Attributes:
        name: of its folder.
        file: the path read, spelt as the user spelt the folder above it.
        values: by keyword, in the unit of the metric; without figures that are not known.
        seconds: of the whole run, None where not known.
        result: None where a log was read.
        note: why this file was chosen, "" where it is the usual one.
    """

    name: str
    file: str
    values: dict[str, float]
    seconds: float | None
    result: Result | None = None
    note: str = ""


@dataclass(frozen=True)
class Unfinished:
    """A seed without a result: its folder, and what its files lack."""

    folder: str
    lacks: str


def read_seed(folder: str, keywords: Sequence[str], signal: str) -> Seed | Unfinished:
    """Read the seed in `folder`.

    A result.json of another program, or one that cannot be read, gives way to the log beside it;
    a damaged result of ours does not.

    Args:
        folder: path as it is to be printed.
        keywords: the figures to read, one of which is enough; where METRICS lacks one, all are read
            from the logs. Accuracy and macro_f1 are read as well.
        signal: the line of a log after which figures count.
    """
    try:
        return _read_seed(folder, keywords, signal)
    except OSError as error:  # a folder that may be listed and not entered
        return Unfinished(folder, f"cannot be read ({error.strerror})")


def _read_seed(folder: str, keywords: Sequence[str], signal: str) -> Seed | Unfinished:
    path = Path(folder) / RESULT_FILE
    if not METRICS.keys() >= set(keywords) or not path.is_file():
        return _read_logs(folder, keywords, signal)
    try:
        result = read_result(path)
    except NotAResult as error:
        return _read_logs(folder, keywords, signal, ignored=_about(path, error))
    except UserError as error:
        return Unfinished(folder, _about(path, error))
    found = {name: metric.value(result) for name, metric in METRICS.items()}
    values = {name: value for name, value in found.items() if value is not None}
    if not values.keys() & set(keywords):
        return Unfinished(folder, f"{path.name}: no {keywords[0]}, {why_unknown(result)}")
    return Seed(
        name=Path(folder).name,
        file=join(folder, RESULT_FILE),
        values=values,
        seconds=result.seconds.get("total"),
        result=result,
    )


def _read_logs(
    folder: str, keywords: Sequence[str], signal: str, ignored: str = ""
) -> Seed | Unfinished:
    lacking: list[str] = []
    for path in reversed(log_files(Path(folder))):
        try:
            reading = read_log(path, {*keywords, "accuracy", "macro_f1"}, signal)
        except UserError as error:
            lacking.append(_about(path, error))
            continue
        if all(lacks := [reading.lacks(keyword, signal) for keyword in keywords]):
            lacking.append(f"{path.name}: {lacks[0]}")
            continue
        file = join(folder, path.name)
        reasons = [ignored] if ignored else []
        if lacking:
            reasons.append(f"newer ones are unfinished or of no use: {'; '.join(lacking)}")
        return Seed(
            name=Path(folder).name,
            file=file,
            values=reading.values,
            seconds=reading.seconds,
            note=f"{file} was read, for {'; '.join(reasons)}" if reasons else "",
        )
    if ignored:
        return Unfinished(folder, "; ".join([ignored, *(lacking or ["no log.txt"])]))
    return Unfinished(folder, "; ".join(lacking) or f"neither {RESULT_FILE} nor log.txt")


def _about(path: Path, error: UserError) -> str:
    """Return an error about a file with the name of the file alone."""
    return f"{path.name}: {str(error).removeprefix(f'{path}: ').removesuffix('.')}"


def join(folder: str, name: str) -> str:
    """Return the path of `name` in `folder`, the latter spelt as given."""
    return folder + name if folder.endswith(("/", os.sep)) else f"{folder}{os.sep}{name}"


def subfolders(directory: str) -> list[str]:
    """Return the folders in `directory`, sorted by name, without hidden ones.

    Raises:
        UserError: `directory` is not a folder, or cannot be read.
    """
    if not Path(directory).is_dir():
        raise UserError(f"{directory}: no such folder.")
    try:
        names = sorted(p.name for p in Path(directory).iterdir() if p.is_dir())
    except OSError as error:
        raise UserError(f"{directory}: cannot be read ({error.strerror}).") from error
    return [join(directory, name) for name in names if not name.startswith(".")]
