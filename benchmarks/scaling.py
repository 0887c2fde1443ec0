"""ImageNet by size: an epoch and an evaluation from a generated feature bank, and how cost grows.

    python -m benchmarks.scaling [--steps 4] [--batches 4]

1000 classes, 16,000 training and 50,000 test images, D 1024, S 49, bf16 on disk, read through a
memory map. All batches are read; some steps are measured and scaled to the epoch. The bank lies in
a temporary folder.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks import counting
from benchmarks.counting import HEADS
from benchmarks.machine import memory_mib, precisions, write_results
from trainers.vtclip import VTCLIP
from vtclip.features.loader import FeatureLoader
from vtclip.features.source import MemoryFeatures
from vtclip.image_features import Features
from vtclip.layers import VisualGuidedAttention

IMAGE = Path(__file__).resolve().parents[1] / "docs" / "images" / "scaling.png"
CLASSES, TRAIN, TEST, S, D, B, SCALE = 1000, 16_000, 50_000, 49, 1024, 32, 100.0
FFN_RATIO = 4


class PrivateMemory(threading.Thread):
    """Watch the largest memory of this process without the mapped pages of files, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0
        self._end = threading.Event()

    def run(self) -> None:
        """Sample 20 times a second until :meth:`stop` (Linux)."""
        while not self._end.wait(0.05):
            self.peak = max(self.peak, memory_mib("RssAnon"))

    def stop(self) -> float:
        """Return the peak."""
        self._end.set()
        self.join()
        return self.peak


def bank(folder: Path, n_images: int) -> MemoryFeatures:
    """Write random features, a block of them repeated, and map them."""
    per_image = S * D
    block = torch.randn(256 * per_image).bfloat16()
    data = block.view(torch.int16).numpy().tobytes()
    path = folder / f"{n_images}.bf16"
    with path.open("wb") as file:
        for first in range(0, n_images, 256):
            file.write(data[: min(256, n_images - first) * per_image * 2])
    spatial = torch.from_file(
        str(path), shared=False, size=n_images * per_image, dtype=torch.bfloat16
    )
    return MemoryFeatures(Features(torch.randn(n_images, D), spatial.view(n_images, S, D)))


def imagenet(folder: Path, steps: int, batches: int, max_pairs: int) -> dict[str, Any]:
    """Measure training steps and evaluation batches, and scale them to all images."""
    needed = (TRAIN + TEST) * S * D * 2
    if shutil.disk_usage(folder).free < 1.2 * needed:
        raise SystemExit(f"the bank needs {needed / 1e9:.1f} GB of disk in {folder}")
    head = VisualGuidedAttention(D, num_heads=HEADS, ffn_ratio=FFN_RATIO)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, fused=True)
    watch = PrivateMemory()
    watch.start()
    text = torch.randn(CLASSES, D)

    def train(images: Tensor, spatial: Tensor, labels: Tensor, products: torch.autocast) -> None:
        with products:
            loss, _ = head.cross_entropy(text, images, spatial, labels, SCALE, max_pairs=max_pairs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def evaluate(images: Tensor, spatial: Tensor, labels: Tensor, products: torch.autocast) -> None:
        with products:
            head.logits(text, images, spatial, SCALE, max_pairs=max_pairs)

    parts = []
    for name, n_images, count, work in (
        ("train", TRAIN, steps, train),
        ("test", TEST, batches, evaluate),
    ):
        labels = torch.randint(CLASSES, (n_images,))
        loader = FeatureLoader([bank(folder, n_images)], labels, B, shuffle=name == "train")
        seconds = measured(loader, work, count)
        for precision, times in seconds.items():
            median = statistics.median(times)
            parts.append(
                {
                    "part": name,
                    "products": precision,
                    "batches_measured": len(times),
                    "batches_in_all": len(loader),
                    "median_seconds": median,
                    "scaled_minutes": median * len(loader) / 60,
                }
            )
            print(
                f"{name}, {precision}: {median:.2f} s a batch of {B} over {len(times)} of "
                f"{len(loader)} batches; scaled to all: {median * len(loader) / 60:.0f} min",
                flush=True,
            )
    report = {
        "max_pairs": max_pairs,
        "parts": parts,
        "peak_private_mib": watch.stop(),
        "peak_mib": memory_mib("VmHWM"),
    }
    print(
        f"peak {report['peak_mib']:.0f} MiB with mapped pages of the bank, "
        f"{report['peak_private_mib']:.0f} MiB without"
    )
    return report


def measured(
    loader: FeatureLoader,
    work: Callable[[Tensor, Tensor, Tensor, torch.autocast], None],
    count: int,
) -> dict[str, list[float]]:
    """Read all batches; work on the first `count` in fp32, on as many more in fast bf16."""
    seconds: dict[str, list[float]] = {precision: [] for precision in precisions()}
    start = time.perf_counter()
    for number, batch in enumerate(loader):
        if number >= count * len(seconds):
            continue
        precision = list(seconds)[number // count]
        images, spatial = batch["features"].global_features, batch["features"].spatial_features
        assert spatial is not None  # the bank has them
        products = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
        work(images, spatial, batch["label"], products)
        seconds[precision].append(time.perf_counter() - start)
        start = time.perf_counter()
    return seconds


def measure(k: int, b: int, s: int, d: int, repetitions: int) -> dict[str, Any]:
    """Time a forward and backward pass, and count the bytes it holds for the backward pass."""
    head = VisualGuidedAttention(d, num_heads=HEADS, ffn_ratio=FFN_RATIO)
    text, images, spatial = torch.randn(k, d), torch.randn(b, d), torch.randn(b, s, d)
    weights = {p.untyped_storage().data_ptr() for p in head.parameters()}
    held: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = head.logits(text, images, spatial, SCALE).logsumexp(-1).sum()
        mib = sum(held.values()) / 2**20
        loss.backward()
        seconds.append(time.perf_counter() - start)
        held.clear()
    return {
        "K": k,
        "B": b,
        "S": s,
        "D": d,
        "seconds": min(seconds),
        "held_mib": mib,
        "multiplications": counting.of_ours(k, b, s, d, FFN_RATIO),
    }


def growth(repetitions: int) -> dict[str, list[dict[str, Any]]]:
    """Vary K, B, S and D, each around the same middle."""
    middle = {"k": 200, "b": 8, "s": 49, "d": 512}
    values = {
        "K": [50, 100, 200, 400, 800],
        "B": [2, 4, 8, 16, 32],
        "S": [12, 25, 49, 98, 196],
        "D": [128, 256, 512, 1024],
    }
    return {
        axis: [measure(**{**middle, axis.lower(): v}, repetitions=repetitions) for v in points]
        for axis, points in values.items()
    }


def plot(curves: dict[str, list[dict[str, Any]]]) -> None:
    """Draw time and memory against each of K, B, S and D, with the predicted time."""
    points = [point for curve in curves.values() for point in curve]
    rate = statistics.median(p["multiplications"] / p["seconds"] for p in points)
    figure = Figure(figsize=(13, 6), layout="constrained")
    axes = figure.subplots(2, 4, sharey="row")
    for column, (axis, curve) in enumerate(curves.items()):
        x = [p[axis] for p in curve]
        top, bottom = axes[0][column], axes[1][column]
        top.loglog(x, [p["seconds"] for p in curve], "o-", label="measured")
        top.loglog(x, [p["multiplications"] / rate for p in curve], "k--", label="predicted")
        bottom.loglog(x, [p["held_mib"] for p in curve], "o-", color="tab:orange")
        for panel in (top, bottom):
            panel.set_xticks(x, [str(v) for v in x], minor=False)
            panel.minorticks_off()
            panel.grid(alpha=0.3)
        bottom.set_xlabel(axis)
    axes[0][0].set_ylabel("seconds, forward + backward")
    axes[1][0].set_ylabel("MiB held for the backward pass")
    axes[0][0].legend()
    figure.suptitle(
        "Visual-guided attention around K 200, B 8, S 49, D 512 "
        f"(predicted: multiplications at {rate / 1e9:.0f} billion a second)"
    )
    IMAGE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGE, dpi=110)
    print(f"wrote {IMAGE.name}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--steps", type=int, default=4, help="training steps to measure, in each precision"
    )
    parser.add_argument(
        "--batches", type=int, default=4, help="test batches to measure, in each precision"
    )
    parser.add_argument("--max-pairs", type=int, default=VTCLIP.OPTIONS["MAX_PAIRS"].default)
    parser.add_argument("--repetitions", type=int, default=3, help="of each point of growth")
    parser.add_argument("--temp", type=Path, help="where to write the bank, 6.6 GB")
    options = parser.parse_args()
    started = time.perf_counter()
    torch.manual_seed(0)
    curves = growth(options.repetitions)
    plot(curves)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # or the bank would stay behind
    with tempfile.TemporaryDirectory(dir=options.temp) as folder:
        report = imagenet(Path(folder), options.steps, options.batches, options.max_pairs)
    write_results("scaling", started, {"imagenet": report, "growth": curves})


if __name__ == "__main__":
    main()
