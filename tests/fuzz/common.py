"""What the fuzz tests share: how many examples, damaged bytes, and the rule for refusals."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from vtclip.errors import UserError

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import HealthCheck, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EXAMPLES = int(os.environ.get("VTCLIP_FUZZ") or 100)


def fuzz(share: float = 1.0) -> Any:
    """Return the settings of a test; `share` below 1 is for examples that cost more."""
    return settings(
        max_examples=max(1, int(EXAMPLES * share)),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


FUZZ = fuzz()
# where in the file as a fraction, and what is put there in the place of how many bytes
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.binary(max_size=9), st.integers(0, 9)), min_size=1, max_size=4
)


def edited(content: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    for where, new, n_old in edits:
        start = int(where * len(content))
        content = content[:start] + new + content[start + n_old :]
    return content


class TooLong(BaseException):
    """Not an Exception, so that nothing in the project takes it for an error of its input."""


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail where the block takes more than `seconds` of the processor, or waits for ten times that.

    A machine that is busy with other work makes no test fail.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TooLong

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, seconds),
        signal.SIGALRM: (signal.ITIMER_REAL, 10 * seconds),
    }
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    except TooLong:
        # where the signal came, a traceback may have no line to show
        pytest.fail(f"no end after {seconds} s", pytrace=False)
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def settles(call: Callable[[], Any]) -> Any:
    """Return what `call` returns, None where it refuses in one short line that can be printed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except UserError as error:
        message = str(error)
        assert message
        assert len(message.splitlines()) == 1
        assert len(message) < 2000
        message.encode()
        return None
