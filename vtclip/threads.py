"""How many threads a piece of work is given: one where it is small, all of them where it is large.

Threads share a small product in less time than it takes them to wait for each other; and where
other programs are at work, each of them waits until the core of the slowest is free. One thread
also adds up numbers in one order, so that small runs give the same figures on every machine's
number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# multiplications below which a second thread saves less than a tenth of the time
# (`python -m benchmarks.threads`)
SMALL = 300_000_000


def let_waiting_threads_sleep() -> None:
    """Let threads that wait give up their core, as far as nothing else is set.

    OpenMP reads these variables when PyTorch is imported, so this comes before.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def is_small(multiplications: int) -> bool:
    """Return whether work of so many multiplications is better done by one thread."""
    return multiplications < SMALL


@contextmanager
def one_thread_if(small: bool) -> Iterator[None]:
    """Run the block on one thread where its work is small; on as many as before where it is not."""
    import torch

    before = torch.get_num_threads()
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ThreadsByWork:
    """Gives steps that are alike one thread or all, by the multiplications of the first of them.

    The first step has one thread, so that its figures do not depend on their number either. For
    scores alone: PyTorch's dispatch, by which the first step is counted, may move the last digit,
    so a training that is resumed would differ from an unbroken one.

    Attributes:
        multiplications: of the matrix products of the first step; None before it.
    """

    def __init__(self) -> None:
        self.multiplications: int | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Run one step."""
        if self.multiplications is not None:
            with one_thread_if(is_small(self.multiplications)):
                yield
            return
        from vtclip.product_counter import ProductCounter

        with one_thread_if(True), ProductCounter() as counter:
            yield
        self.multiplications = counter.multiplications
