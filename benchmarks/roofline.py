"""What this machine can do at most, and which share of it the attention reaches at K 100.

    python -m benchmarks.roofline

Peaks: matrix products in fp32 and bf16, large square ones and those of the feed-forward part (3200
x 1024 by 1024 x 4096), and bytes a second of a copy and of a sum that no cache holds. Steps of the
attention (B 32, K 100, S 49, D 1024) take turns with them. No step can fall below the seconds of
its multiplications at the square peak. Nearer to it are its own products, of the same shapes and in
the same order with nothing between them, and one pass over memory for what every other operation
reads and writes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from benchmarks.attention import DEFAULT, B, D, step_of
from benchmarks.machine import precisions, write_results
from vtclip.product_counter import ProductCounter, factors_of

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


class StepRecorder(ProductCounter):
    """Records the products of a block, and the bytes that its other operations pass over.

    Attributes:
        products: random numbers for the two factors of each, in order, laid out as they were.
        bytes: read and written by all other operations, each tensor once per operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products: list[tuple[Tensor, Tensor]] = []
        self.bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Record one operation, and do it."""
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if factors := factors_of(func, args):
            left, right = factors
            self.products.append((_like(left), _like(right)))
        elif not _is_view(func):
            passed = [*args, *tree_leaves(result)]
            self.bytes += sum(_held_bytes(x) for x in passed if isinstance(x, Tensor))
        return result


def _like(tensor: Tensor) -> Tensor:
    """Return random numbers in the layout of a tensor, also where it shows numbers repeatedly."""
    reach = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    numbers = torch.randn(reach).to(tensor.dtype)
    return numbers.as_strided(tensor.shape, tensor.stride())


def _is_view(func: Any) -> bool:
    """Whether an operation returns its argument's memory, or new memory that it leaves alone."""
    returns = func._schema.returns
    views = any(value.alias_info and not value.alias_info.is_write for value in returns)
    return views or "empty" in func.overloadpacket.__name__


def _held_bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor, those that it shows repeatedly once."""
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())


def replaying(recorder: StepRecorder) -> Callable[[], object]:
    """Return the recorded products, in their order and into memory that is there."""
    work = [(left, right, left @ right) for left, right in recorder.products]

    def replay() -> None:
        for left, right, out in work:
            torch.matmul(left, right, out=out)

    return replay


def recorded(step: Callable[[], object]) -> StepRecorder:
    """Return what a step computes."""
    with StepRecorder() as recorder:
        step()
    return recorder


def main() -> None:
    """Measure, print and write benchmarks/results/roofline.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=9)
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
        f"{name}, {ratio} D": step_of(contestant, K, ratio)
        for ratio in (4, 0)
        for name, contestant in contestants.items()
    }
    records = {name: recorded(step) for name, step in steps.items()}
    replays = {f"{name}: products": replaying(record) for name, record in records.items()}
    measured = {**peaks, **bandwidths}
    work = {**{name: do for name, (_, do) in measured.items()}, **steps, **replays}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(args.repetitions):
        for name, do in work.items():
            start = time.perf_counter()
            do()
            seconds[name].append(time.perf_counter() - start)
    # a peak is the best that was seen, a step and its products what they usually take
    best = {name: amount / min(seconds[name]) for name, (amount, _) in measured.items()}
    rows: list[dict[str, Any]] = []
    for name, record in records.items():
        kind = name.split(",")[0]
        least = record.multiplications / best[f"{kind}, {SQUARE} x {SQUARE} x {SQUARE}"]
        taken, own = median(seconds[name]), median(seconds[f"{name}: products"])
        passes = record.bytes / best["copy"]
        rows.append(
            {
                "step": name,
                "multiplications": record.multiplications,
                "bytes_beside_products": record.bytes,
                "median_seconds": taken,
                "least_seconds_of_products": least,
                "share_of_peak": least / taken,
                "seconds_of_own_products": own,
                "seconds_of_passes": passes,
                "share_of_limit": (own + passes) / taken,
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
