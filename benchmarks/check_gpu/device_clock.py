"""Seconds and memory of work on a device, whose queue is waited for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.counted import MemoryCounter


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(
    work: Callable[[], object], device: torch.device, repetitions: int, warm_up: int
) -> float:
    """Return the median seconds of some work, each time until the device is done."""
    seconds = []
    for _ in range(warm_up + repetitions):
        wait_for(device)
        started = time.perf_counter()
        work()
        wait_for(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[warm_up:])


def peak_mib(work: Callable[[], object], device: torch.device) -> float:
    """Return the largest memory in MiB that some work takes beyond what was there before.

    On CUDA that of PyTorch's allocator; elsewhere the storages that are made, counted.
    """
    if device.type == "cuda":
        wait_for(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        wait_for(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    with MemoryCounter() as counter:
        work()
    return counter.most / 2**20
