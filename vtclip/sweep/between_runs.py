"""What a process that carries out many runs keeps between them, and what it sets back."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

from vtclip.kept import kept_in_memory


@contextmanager
def shared() -> Iterator[None]:
    """Keep what runs have in common in memory while the block runs."""
    # what is imported lives as long as the process, and need not be looked at after every run
    gc.collect()
    gc.freeze()
    with kept_in_memory():
        yield


@contextmanager
def afresh() -> Iterator[None]:
    """Begin a run as in a process of its own, and leave nothing of it behind.

    What is drawn without a seed is new, the highest memory is that of the run, and hooks and
    settings of torch are as before.
    """
    random.seed()
    np.random.seed()
    torch.seed()
    hook, threads = sys.excepthook, torch.get_num_threads()
    benchmark = torch.backends.cudnn.benchmark
    _forget_peak_memory()
    try:
        yield
    finally:
        sys.excepthook = hook
        torch.backends.cudnn.benchmark = benchmark
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        # a trainer is in cycles with its optimizer, and holds features
        gc.collect()


def _forget_peak_memory() -> None:
    """Let the highest memory of this process begin with what it has now, where that can be."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
