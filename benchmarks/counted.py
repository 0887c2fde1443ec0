"""Multiplications and peak memory of the attention, counted: the same on every machine.

    python -m benchmarks.counted

Forward and backward of a step, and the evaluation of a batch, with random features. Memory is the
largest sum of the sizes of all storages that PyTorch's operations made and that are still held;
what an operation needs within itself is not seen. tests/benchmarks/test_counted.py compares the
present code with benchmarks/results/counted.json; run this after a change that is meant to differ.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from benchmarks.machine import write_results
from trainers.vtclip import VTCLIP
from vtclip.layers import VisualGuidedAttention
from vtclip.layers.shortlist import shortlist_of
from vtclip.product_counter import ProductCounter

B, S, SCALE = 32, 49, 100.0
PAIRS = VTCLIP.OPTIONS["MAX_PAIRS"].default


class Case(NamedTuple):
    """One shape: K, D, width of the feed-forward part over D, and M (K for no shortlist)."""

    classes: int
    dim: int
    ffn_ratio: int
    shortlist: int
    training: bool

    @property
    def name(self) -> str:
        """Its name in the results."""
        part = "step" if self.training else "evaluation"
        return f"{part}, K {self.classes}, D {self.dim}, {self.ffn_ratio} D, M {self.shortlist}"


CASES = [
    *(Case(k, d, ratio, k, True) for k, d in ((1000, 256), (100, 1024)) for ratio in (4, 0)),
    Case(1000, 256, 4, 1000, False),
    Case(1000, 256, 4, 32, True),
    Case(1000, 256, 4, 32, False),
]


class MemoryCounter(ProductCounter):
    """Counts the bytes of storages that are made in a block, too.

    Attributes:
        now: held of them at the moment.
        most: the largest sum so far.

    Example:
        >>> with MemoryCounter() as counter:
        ...     for _ in range(3):
        ...         kept = torch.zeros(10) + torch.ones(10)
        >>> counter.most
        160
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._held: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count one operation, and do it."""
        before = {id(s) for s in map(_storage, tree_leaves((args, kwargs))) if s is not None}
        result = super().__torch_dispatch__(func, types, args, kwargs)
        for storage in map(_storage, tree_leaves(result)):
            if storage is not None and id(storage) not in before:
                self._hold(storage)
        return result

    def _hold(self, storage: Any) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._held:
            return

        def released(_: Any) -> None:
            del self._held[key]
            self.now -= size

        self._held[key] = weakref.ref(storage, released)
        self.now += size
        self.most = max(self.most, self.now)


def _storage(value: Any) -> Any:
    return value.untyped_storage() if isinstance(value, Tensor) else None


def count(case: Case) -> dict[str, int]:
    """Return the multiplications and the peak in bytes of a case."""
    torch.manual_seed(0)
    k, d, ratio, m, training = case
    texts, images, spatial = torch.randn(k, d), torch.randn(B, d), torch.randn(B, S, d)
    labels = torch.randint(k, (B,))
    head = VisualGuidedAttention(d, ffn_ratio=ratio, zero_init=False)
    known = labels if training else None
    chosen = shortlist_of(images @ texts.T, m, known) if m < k else None
    with MemoryCounter() as counter, torch.set_grad_enabled(training):
        if training:
            loss, _ = head.cross_entropy(
                texts, images, spatial, labels, SCALE, max_pairs=PAIRS, shortlist=chosen
            )
            loss.backward()
        else:
            head.logits(texts, images, spatial, SCALE, max_pairs=PAIRS, shortlist=chosen)
    return {"multiplications": counter.multiplications, "peak_bytes": counter.most}


def main() -> None:
    """Count all cases and write benchmarks/results/counted.json."""
    started, found = time.perf_counter(), {}
    for case in CASES:
        found[case.name] = count(case)
        print(case.name, found[case.name], flush=True)
    write_results("counted", started, found)


if __name__ == "__main__":
    main()
