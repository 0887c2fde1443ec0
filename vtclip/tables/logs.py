"""Read the result of a run from its Dassl log."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from vtclip.errors import UserError
from vtclip.tables.metrics import metric_of

END_OF_TRAINING = "Finish training"
END_OF_TEST = "=> result"
# what Dassl wrote until 2022
OLD_WORDING = ("Finished training", "Do evaluation on test set")
# figures that are nothing but shares of the images
PERCENTAGES = {"accuracy", "error", "macro_f1", "ece"}

_ELAPSED = re.compile(r"Elapsed: (?:(\d{1,9}) days?, )?(\d{1,9}):(\d\d):(\d\d)", flags=re.ASCII)
_NUMBER = re.compile(r"[0-9.eE+-]+")


@dataclass(frozen=True)
class LogReading:
    """The last figures of a log after its end signal.

    Attributes:
        values: by keyword, in percent except for nll.
        impossible: the figures that are none, as "KEYWORD is TEXT%".
        seconds: the elapsed time, None where the log does not say.
        ended: whether the end signal is there.
        hint: what to do where it is not there, "" where nothing suggests itself.
    """

    values: dict[str, float]
    impossible: list[str]
    seconds: float | None
    ended: bool
    hint: str

    def lacks(self, keyword: str, signal: str) -> str:
        """Return what is missing or impossible, in words; "" where `keyword` can be used."""
        if self.impossible:
            return f"{', '.join(self.impossible)}, which is impossible"
        if keyword in self.values:
            return ""
        if self.ended:
            return f'no "* {keyword}: ...{metric_of(keyword).sign}" after "{signal}"'
        return f'no line "{signal}"{self.hint}'


def is_log(name: str) -> bool:
    """Tell whether a file of this name is a log."""
    return name == "log.txt" or name.startswith("log.txt-")


def log_files(folder: Path) -> list[Path]:
    """Return the logs of a folder, oldest first: log.txt, then each log.txt-DATE."""
    dated = sorted(path for path in folder.glob("log.txt-*") if path.is_file())
    first = folder / "log.txt"
    return [first, *dated] if first.is_file() else dated


def read_log(path: Path, keywords: Collection[str], signal: str) -> LogReading:
    """Read the figures that follow the line `signal`; of several the last counts.

    Raises:
        UserError: the file cannot be read.
    """
    patterns = {k: _pattern(k) for k in keywords}
    texts: dict[str, str] = {}
    seconds: float | None = None
    ended = tested = trained = old = False
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for raw in lines:
                line = raw.strip()
                ended = ended or line == signal
                tested = tested or line == END_OF_TEST
                trained = trained or line.startswith("epoch [")
                old = old or line.startswith(OLD_WORDING)
                if not ended:
                    continue
                for keyword, pattern in patterns.items():
                    if match := pattern.search(line):
                        texts[keyword] = match.group(1)
                if match := _ELAPSED.search(line):
                    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
                    seconds = float(((days * 24 + hours) * 60 + minutes) * 60 + rest)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    figures = {keyword: _figure(keyword, text) for keyword, text in texts.items()}
    return LogReading(
        values={keyword: value for keyword, value in figures.items() if value is not None},
        impossible=[
            f"{k} is {reprlib.repr(texts[k])[1:-1]}{metric_of(k).sign}"
            for k in figures
            if figures[k] is None
        ],
        seconds=seconds,
        ended=ended,
        hint=_hint(old, trained) if tested else "",
    )


def _pattern(keyword: str) -> re.Pattern[str]:
    figure = r"(\S+?)%" if metric_of(keyword).sign else r"(\S+)"
    return re.compile(rf"\* {re.escape(keyword)}: {figure}")


def _figure(keyword: str, text: str) -> float | None:
    """Return the number that `text` is, None where no such figure can be."""
    try:
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
    except ValueError:  # "1.2.3"
        return None
    possible = 0 <= value <= 100 if keyword in PERCENTAGES else math.isfinite(value)
    return value if possible else None


def _hint(old: bool, trained: bool) -> str:
    if old:
        return " (the wording of an older Dassl? add --test-log)"
    return "" if trained else " (the log of a test? add --test-log)"
