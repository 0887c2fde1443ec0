"""Read the result of a run from its Dassl log."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from vtclip.errors import UserError

END_OF_TRAINING = "Finish training"
END_OF_TEST = "=> result"

_ELAPSED = re.compile(r"Elapsed: (?:(\d+) days?, )?(\d+):(\d\d):(\d\d)")


@dataclass(frozen=True)
class LogReading:
    """The last figures of a log after its end signal.

    Attributes:
        values: in percent, by keyword.
        seconds: the elapsed time, None where the log does not say.
        ended: whether the end signal is there.
        test_only: whether there is a test result and no sign of training.
    """

    values: dict[str, float]
    seconds: float | None
    ended: bool
    test_only: bool

    def lacks(self, keyword: str, signal: str) -> str:
        """Return what is missing for `keyword`, in words; "" where nothing is."""
        if keyword in self.values:
            return ""
        if self.ended:
            return f'no "* {keyword}: ...%" after "{signal}"'
        hint = " (the log of a test? add --test-log)" if self.test_only else ""
        return f'no line "{signal}"{hint}'


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
    patterns = {k: re.compile(rf"\* {re.escape(k)}: ([\.\deE+-]+)%") for k in keywords}
    values: dict[str, float] = {}
    seconds: float | None = None
    ended = tested = trained = False
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for raw in lines:
                line = raw.strip()
                ended = ended or line == signal
                tested = tested or line == END_OF_TEST
                trained = trained or line.startswith("epoch [")
                if not ended:
                    continue
                for keyword, pattern in patterns.items():
                    if match := pattern.search(line):
                        _store(values, keyword, match.group(1))
                if match := _ELAPSED.search(line):
                    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
                    seconds = float(((days * 24 + hours) * 60 + minutes) * 60 + rest)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    return LogReading(values, seconds, ended, tested and not trained)


def _store(values: dict[str, float], keyword: str, text: str) -> None:
    try:
        values[keyword] = float(text)
    except ValueError:  # the pattern also lets "1.2.3" pass
        values.pop(keyword, None)
