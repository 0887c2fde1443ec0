"""Time and memory of the attention against torch's decoder layer on texts copied per image.

    python -m benchmarks.attention [--repetitions 2] [--classes 1000 100] [--ffn 4 0]

Forward and backward, fp32, one layer, D 1024, 8 heads, S 49. One run interleaves all contestants;
medians are compared. Steps at K 100 have three times the repetitions, and one to warm up. Peaks
are taken in a process each: the largest resident memory over what was resident before the step,
with an allocator that gives back at once what is freed. By default it keeps some, and how much
differs by a fifth between two runs of the same code.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import counting
from benchmarks.counting import HEADS
from benchmarks.machine import memory_mib, precisions, write_results
from trainers.vtclip import VTCLIP
from vtclip.layers import VisualGuidedAttention, visual_guided_logits

B, S, D, SCALE = 32, 49, 1024, 100.0
# from so many classes on a step takes seconds, of which warming up would be nothing
LARGE_K = 1000
# glibc then maps every block of that many bytes on its own
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536"}
# as the trainer runs it by default, with all pairs at once, at a lower peak, and in bf16 if fast
PAIRS = VTCLIP.OPTIONS["MAX_PAIRS"].default
DEFAULT = f"ours, max_pairs={PAIRS}"
OURS = [DEFAULT, "ours", f"ours, max_pairs={PAIRS // 2}"]
OURS += [f"{DEFAULT}, amp"] * ("bf16" in precisions())
EVALUATION = [f"evaluation, max_pairs={PAIRS}"]


class Reference(nn.Module):
    """`nn.TransformerDecoderLayer` on [B, K, D] texts, then residual and cosine."""

    def __init__(self, ffn_ratio: int) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(
            D, HEADS, max(1, ffn_ratio * D), dropout=0.0, batch_first=True
        )
        self.has_ffn = ffn_ratio > 0

    def logits(self, text: Tensor, images: Tensor, spatial: Tensor) -> Tensor:
        """Return [B, K]."""
        texts = F.normalize(text, dim=-1).expand(len(images), -1, -1)
        memory, layer = F.normalize(spatial, dim=-1), self.layer
        if self.has_ffn:
            x = layer(texts, memory)
        else:  # the layer without its third part
            x = layer.norm1(texts + layer.self_attn(texts, texts, texts, need_weights=False)[0])
            x = layer.norm2(x + layer.multihead_attn(x, memory, memory, need_weights=False)[0])
        return visual_guided_logits(images, texts + x, SCALE)


def step_of(contestant: str, n_classes: int, ffn_ratio: int) -> Callable[[], object]:
    """Return a step of "reference", "products", "ours" or "evaluation", the last two with options.

    Options follow a comma: "max_pairs=<n>", or "amp" for products in bf16.
    """
    torch.manual_seed(0)
    text, images = torch.randn(n_classes, D), torch.randn(B, D)
    spatial, labels = torch.randn(B, S, D), torch.randint(n_classes, (B,))
    if contestant == "products":
        first = torch.randn(ffn_ratio * D, D, requires_grad=True)
        second = torch.randn(D, ffn_ratio * D, requires_grad=True)
        x = torch.randn(B * n_classes, D, requires_grad=True)
        upstream = torch.randn(B * n_classes, D)
        return lambda: torch.autograd.grad(x @ first.T @ second.T, (x, first, second), upstream)
    if contestant == "reference":
        reference = Reference(ffn_ratio)
        return lambda: _train(
            reference, lambda: F.cross_entropy(reference.logits(text, images, spatial), labels)
        )
    name, *options = contestant.split(", ")
    pairs = next((int(o.partition("=")[2]) for o in options if "=" in o), 0)
    head = VisualGuidedAttention(D, num_heads=HEADS, ffn_ratio=ffn_ratio, zero_init=False)
    if name == "evaluation":
        evaluate = torch.inference_mode()(head.logits)
        return partial(evaluate, text, images, spatial, SCALE, max_pairs=pairs)

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled="amp" in options):
            return head.cross_entropy(text, images, spatial, labels, SCALE, max_pairs=pairs)[0]

    return lambda: _train(head, loss)


def _train(head: nn.Module, loss: Callable[[], Tensor]) -> None:
    head.zero_grad()
    loss().backward()


def peak(contestant: str, n_classes: int, ffn_ratio: int) -> float:
    """Return the peak of one step in MiB, in a process of its own."""
    arguments = [sys.executable, "-m", "benchmarks.attention", "--peak-of", contestant]
    arguments += ["--classes", str(n_classes), "--ffn", str(ffn_ratio)]
    environment = {**os.environ, **ALLOCATOR}
    run = subprocess.run(arguments, check=True, capture_output=True, text=True, env=environment)
    return float(run.stdout)


def compare(
    n_classes: int, ffn_ratio: int, repetitions: int, clock: Callable[[], float]
) -> dict[str, object]:
    """Measure one shape and print its rows."""
    timed = ["reference", *OURS] + ["products"] * (ffn_ratio > 0)
    steps = {name: step_of(name, n_classes, ffn_ratio) for name in timed}
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    warm_up = n_classes < LARGE_K
    # a small step takes a tenth of the time of a large one
    for _ in range(3 * repetitions + 1 if warm_up else repetitions):
        for name, step in steps.items():
            start = clock()
            step()
            seconds[name].append(clock() - start)
    median = {name: statistics.median(times[warm_up:]) for name, times in seconds.items()}
    measured = [name for name in timed if name != "products"] + EVALUATION
    mib = {name: peak(name, n_classes, ffn_ratio) for name in measured}
    print(
        f"\nK {n_classes}, feed-forward {ffn_ratio} D (B {B}, S {S}, D {D}, {HEADS} heads)",
        flush=True,
    )
    for name in [*timed, *EVALUATION]:
        row = f"  {name:27}"
        if name in median:
            row += f" {median[name]:8.3f} s  {median['reference'] / median[name]:5.2f} x faster"
            if "products" in median:
                row += f"  {median[name] / median['products']:5.2f} of the products"
        if name in mib:
            row += f"  {mib[name]:6.0f} MiB, {mib[name] / mib['reference']:.2f} of the reference"
        print(row, flush=True)
    return {
        "classes": n_classes,
        "ffn_ratio": ffn_ratio,
        "fewer_multiplications": counting.of_reference(n_classes, B, S, D, ffn_ratio)
        / counting.of_ours(n_classes, B, S, D, ffn_ratio),
        "median_seconds": median,
        "seconds": seconds,
        "peak_mib": mib,
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[1000, 100])
    parser.add_argument("--ffn", type=int, nargs="+", default=[4, 0])
    parser.add_argument("--repetitions", type=int, default=2, help="at K 1000")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    parser.add_argument(
        "--clock",
        choices=["wall", "processor"],
        default="wall",
        help="processor time, best with --threads 1, where others use the machine too",
    )
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        step = step_of(options.peak_of, options.classes[0], options.ffn[0])
        before = memory_mib("VmRSS")
        step()
        print(memory_mib("VmHWM") - before)
        return
    started = time.perf_counter()
    if options.threads:
        torch.set_num_threads(options.threads)
    clock = time.process_time if options.clock == "processor" else time.perf_counter
    results = [
        compare(n_classes, ratio, options.repetitions, clock)
        for n_classes in options.classes
        for ratio in options.ffn
    ]
    shape = {"B": B, "S": S, "D": D, "heads": HEADS, "dtype": "float32"}
    write_results(
        "attention", started, {"shape": shape, "clock": options.clock, "comparisons": results}
    )


if __name__ == "__main__":
    main()
