"""What this machine can do at most, and which share of it the attention reaches at K 100.

    python -m benchmarks.roofline

Peaks: matrix products in fp32 and bf16, large square ones and those of the feed-forward part (3200
x 1024 by 1024 x 4096), and bytes a second of a copy and of a sum that no cache holds. Steps of the
attention (B 32, K 100, S 49, D 1024) take turns with them; the multiplications that
`ProductCounter` finds in a step, over the square peak, are the seconds that no step can fall below.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from benchmarks.attention import DEFAULT, B, D, step_of
from benchmarks.machine import precisions, write_results
from vtclip.product_counter import ProductCounter

K = 100
SQUARE = 2048
# 256 MiB a tensor
NUMBERS = 64 * 2**20


def product(rows: int, inner: int, columns: int, dtype: torch.dtype) -> Callable[[], object]:
    """Return a matrix product."""
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    return lambda: left @ right


def copying() -> Callable[[], object]:
    """Return a copy: it reads as many bytes as it writes."""
    source, target = torch.zeros(NUMBERS), torch.zeros(NUMBERS)
    return lambda: target.copy_(source)


def adding() -> Callable[[], object]:
    """Return a sum of two tensors into a third."""
    one, two, target = torch.zeros(NUMBERS), torch.zeros(NUMBERS), torch.zeros(NUMBERS)
    return lambda: torch.add(one, two, out=target)


def multiplications_of(step: Callable[[], object]) -> int:
    """Return the multiplications of a step."""
    with ProductCounter() as counter:
        step()
    return counter.multiplications


def main() -> None:
    """Measure, print and write benchmarks/results/roofline.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    args, started = parser.parse_args(), time.perf_counter()
    types, contestants = {"fp32": torch.float32}, {"fp32": DEFAULT}
    if "bf16" in precisions():
        types["bf16"], contestants["bf16"] = torch.bfloat16, f"{DEFAULT}, amp"
    peaks = {
        f"{name}, {rows} x {inner} x {columns}": (
            rows * inner * columns,
            product(rows, inner, columns, dtype),
        )
        for name, dtype in types.items()
        for rows, inner, columns in ((SQUARE, SQUARE, SQUARE), (B * K, D, 4 * D))
    }
    bandwidths = {
        "copy": (2 * 4 * NUMBERS, copying()),
        "add": (3 * 4 * NUMBERS, adding()),
    }
    steps = {
        f"{name}, {ratio} D": (multiplications_of(step), step)
        for ratio in (4, 0)
        for name, contestant in contestants.items()
        for step in (step_of(contestant, K, ratio),)
    }
    work = {**peaks, **bandwidths, **steps}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(args.repetitions):
        for name, (_, do) in work.items():
            start = time.perf_counter()
            do()
            seconds[name].append(time.perf_counter() - start)
    # a peak is the best that was seen, a step what it usually takes
    best = {name: work[name][0] / min(seconds[name]) for name in {**peaks, **bandwidths}}
    rows: list[dict[str, Any]] = []
    for name, (count, _) in steps.items():
        kind = name.split(",")[0]
        peak = best[f"{kind}, {SQUARE} x {SQUARE} x {SQUARE}"]
        taken = median(seconds[name])
        rows.append(
            {
                "step": name,
                "multiplications": count,
                "median_seconds": taken,
                "least_seconds_of_products": count / peak,
                "share_of_peak": count / peak / taken,
            }
        )
        print(rows[-1], flush=True)
    found = {
        "per_second": best,
        "steps": rows,
        "repetitions": args.repetitions,
    }
    for name, value in best.items():
        unit = "GB/s" if name in bandwidths else "thousand million multiplications a second"
        print(f"{name}: {value / 1e9:.1f} {unit}")
    write_results("roofline", started, found)


if __name__ == "__main__":
    main()
