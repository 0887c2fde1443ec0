"""Signals that end a command: what is being written is finished first, then one line is printed.

A handler may run between any two steps of the program. It raises :class:`Interrupted`, except while
a block of :func:`put_off` runs, at the end of which it is raised.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C, `kill`, and a terminal that closes
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in dir(signal)]
# a script and the system may both pass one signal on; one that comes later is another one
SAME_SIGNAL_S = 1.0


class Interrupted(KeyboardInterrupt):
    """A signal ended the command.

    Args:
        number: of the signal.
        outcome: what became of the work, for the message.

    >>> str(Interrupted(signal.SIGTERM, "saved after epoch 2 of 9"))
    'interrupted (SIGTERM): saved after epoch 2 of 9'
    """

    def __init__(self, number: int = signal.SIGINT, outcome: str = "") -> None:
        self.number = number
        self.exit_code = 128 + number
        name = signal.Signals(number).name
        super().__init__(f"interrupted ({name}){': ' if outcome else ''}{outcome}")


class _Received:
    """The last signal: its number (0: none), its time, and whether it is still to be raised."""

    def __init__(self) -> None:
        self.number = 0
        self.time = 0.0
        self.is_due = False
        self.blocks = 0
        self.process = os.getpid()


_received = _Received()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise :class:`Interrupted` where a signal comes while the block runs, in the main thread.

    Signals that the process was told to ignore stay ignored. A block within another adds nothing.
    """
    global _received
    if threading.current_thread() is not threading.main_thread() or any(
        signal.getsignal(number) is _on_signal for number in SIGNALS
    ):
        yield
        return
    heeded = [n for n in SIGNALS if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    # torch installs one of its own, see `_on_signal`
    before = {number: signal.getsignal(number) for number in (*heeded, signal.SIGCHLD)}
    outer, _received = _received, _Received()
    try:
        for number in heeded:
            signal.signal(number, _on_signal)
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])
        if _received.number:
            signal.signal(signal.SIGCHLD, before[signal.SIGCHLD])
        _received = outer


@contextmanager
def put_off() -> Iterator[None]:
    """Let a signal wait until the block has ended; a second one, later, does not wait.

    Raises:
        Interrupted: at the end of the outermost block, where a signal came meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.blocks += 1
    try:
        yield
    finally:
        _received.blocks -= 1
        if _received.is_due and not _received.blocks:
            _raise()


def raise_if_received() -> None:
    """Raise what a signal should have: Python drops exceptions that are raised in destructors.

    Raises:
        Interrupted: a signal has come.
    """
    if _received.number:
        _raise()


def _raise() -> None:
    _received.is_due = False
    raise Interrupted(_received.number)


def _on_signal(number: int, _: FrameType | None) -> None:
    if os.getpid() != _received.process:
        _end_child(number)
        return
    now = time.monotonic()
    is_first = not _received.number
    if not is_first and now - _received.time < SAME_SIGNAL_S:
        return
    _received.number, _received.time, _received.is_due = number, now, True
    # workers that read images may have had the signal too; torch's handler for their end would
    # raise an error in the middle of what is done on the way out
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not (is_first and _received.blocks):
        _raise()


def _end_child(number: int) -> None:
    """End a forked process as if it had no handler of this module."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
