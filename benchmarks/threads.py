"""One thread or two: steps of growing size, and a whole run beside programs that need the cores.

    python -m benchmarks.threads

Steps: forward, backward and AdamW of one head, with one thread and with all of them in turns; the
multiplications of a step beside the ratio say where a second thread begins to pay
(`vtclip.threads.SMALL`). Runs: 60 epochs of VT-CLIP on 16 shots of digits, on the machine as it is
and with as many busy loops beside it as there are cores; once as train.py chooses the threads, once
with all threads for everything and threads that spin while they wait, PyTorch's default.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.machine import write_results
from vtclip.layers import VisualGuidedAttention
from vtclip.product_counter import ProductCounter

ROOT = Path(__file__).resolve().parents[1]
REPETITIONS = 5
SECONDS_OF_A_REPETITION = 0.15
EPOCHS = 60
# B, K, S, D of VT-CLIP's head; B, K, D of a linear one
ATTENTION = [(32, 10, 9, 64), (32, 10, 9, 128), (32, 10, 49, 256), (32, 10, 49, 1024)]
LINEAR = [(32, 41, 512), (256, 160, 128), (256, 656, 512), (256, 1600, 1024)]
# as before threads were chosen by the work
ALL_THREADS = """
import os, sys
os.environ["OMP_WAIT_POLICY"] = "active"
import train, vtclip.threads
vtclip.threads.SMALL = 0
sys.exit(train.main(sys.argv[1:]))
"""


def attention_step(b: int, k: int, s: int, d: int) -> tuple[nn.Module, Callable[[], Tensor]]:
    """Return a visual-guided attention, and the loss of a batch through it."""
    head = VisualGuidedAttention(d)
    texts, spatial, images = torch.randn(k, d), torch.randn(b, s, d), torch.randn(b, d)
    labels = torch.randint(0, k, (b,))

    def loss() -> Tensor:
        guided = F.normalize(head(texts, spatial), dim=-1)
        return F.cross_entropy(torch.einsum("bd,bkd->bk", images, guided), labels)

    return head, loss


def linear_step(b: int, k: int, d: int) -> tuple[nn.Module, Callable[[], Tensor]]:
    """Return a linear head, and the loss of a batch through it."""
    head, images, labels = nn.Linear(d, k), torch.randn(b, d), torch.randint(0, k, (b,))
    return head, lambda: F.cross_entropy(head(images), labels)


def seconds_by_threads(head: nn.Module, loss: Callable[[], Tensor]) -> dict[int, float]:
    """Return the median seconds of a training step with one thread and with all of them."""
    optimizer = torch.optim.AdamW(head.parameters(), 1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    counts = [1, torch.get_num_threads()]
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(REPETITIONS):
        for count in counts:
            torch.set_num_threads(count)
            step()
            started, steps = time.perf_counter(), 0
            while time.perf_counter() - started < SECONDS_OF_A_REPETITION:
                step()
                steps += 1
            seconds[count].append((time.perf_counter() - started) / steps)
    return {count: median(values) for count, values in seconds.items()}


def compare_step(name: str, head: nn.Module, loss: Callable[[], Tensor]) -> dict[str, Any]:
    """Return the multiplications of a step and its seconds by the number of threads."""
    with ProductCounter() as counter:
        loss().backward()
    seconds = seconds_by_threads(head, loss)
    one, every = seconds.values()
    print(f"{name}: {counter.multiplications / 1e6:.1f} million, {one / every:.2f}", flush=True)
    return {
        "head": name,
        "multiplications": counter.multiplications,
        "one_thread_seconds": one,
        "all_threads_seconds": every,
        "gain": one / every,
    }


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep `count` processes busy."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def seconds_of_run(code: list[str]) -> float:
    """Return the seconds of a run, from its command to its result."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--output-dir", folder, "OPTIM.MAX_EPOCH", str(EPOCHS)]
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *code, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - started


def compare_runs() -> list[dict[str, Any]]:
    """Return the seconds of runs, alone and beside busy loops, each way."""
    seconds_of_run(["train.py"])  # fills the cache, which the runs below find full
    found = []
    for name, code in {"by the work": ["train.py"], "all, spinning": ["-c", ALL_THREADS]}.items():
        alone = seconds_of_run(code)
        with busy_loops(os.cpu_count() or 1):
            beside = seconds_of_run(code)
        print(f"{name}: {alone:.1f} s, {beside:.1f} s, {beside / alone:.2f}", flush=True)
        found.append({"threads": name, "alone_seconds": alone, "beside_seconds": beside})
    return found


def main() -> None:
    """Measure and write benchmarks/results/threads.json."""
    started = time.perf_counter()
    torch.manual_seed(0)
    steps = [
        compare_step(f"VT-CLIP, B {b}, K {k}, S {s}, D {d}", *attention_step(b, k, s, d))
        for b, k, s, d in ATTENTION
    ]
    steps += [
        compare_step(f"linear, B {b}, K {k}, D {d}", *linear_step(b, k, d)) for b, k, d in LINEAR
    ]
    write_results("threads", started, {"epochs": EPOCHS, "steps": steps, "runs": compare_runs()})


if __name__ == "__main__":
    main()
