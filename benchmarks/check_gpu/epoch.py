"""An epoch and an evaluation of VT-CLIP at ImageNet's size: some steps, scaled to all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.check_gpu.device_clock import median_seconds, peak_mib
from benchmarks.check_gpu.lines import Line, limited, measured, not_run
from benchmarks.check_gpu.sizes import Sizes
from vtclip.features.loader import FeatureLoader
from vtclip.features.source import MemoryFeatures
from vtclip.image_features import Features
from vtclip.layers import VisualGuidedAttention
from vtclip.precision import autocast, bf16_is_fast
from vtclip.schedule import fused

SCALE = 100.0
# the logarithm of the number of classes is the loss of chance
TIMES_CHANCE = 2.0


def check_epoch(device: torch.device, sizes: Sizes) -> Iterator[Line]:
    """Measure in fp32, and in bf16 where that is fast; features come from the computer's memory."""
    for precision in ("fp32", "bf16"):
        what = f"K {sizes.classes}, D {sizes.dim}, S {sizes.locations}, {precision}"
        if precision == "bf16" and device.type == "cuda" and not bf16_is_fast(device):
            yield not_run("epoch", what, "bf16 is emulated on this device")
            continue
        yield from measure(device, sizes, what, torch.bfloat16 if precision == "bf16" else None)


def measure(
    device: torch.device, sizes: Sizes, what: str, products: torch.dtype | None
) -> Iterator[Line]:
    """Measure training steps and evaluation batches of one precision."""
    torch.manual_seed(0)
    text = torch.randn(sizes.classes, sizes.dim).to(device)
    head = VisualGuidedAttention(sizes.dim).to(device)
    optimizer = fused(torch.optim.AdamW(head.parameters(), lr=1e-4))
    batches = Batches(device, sizes)
    losses: list[Tensor] = []

    def step() -> None:
        features, labels = batches.next()
        spatial = features.spatial_features
        assert spatial is not None  # the bank has them
        with autocast(device, products):
            loss, _ = head.cross_entropy(
                *(text, features.global_features, spatial, labels, SCALE),
                max_pairs=sizes.max_pairs,
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())

    @torch.no_grad()
    def evaluate() -> None:
        features, _ = batches.next()
        spatial = features.spatial_features
        assert spatial is not None
        with autocast(device, products):
            head.logits(text, features.global_features, spatial, SCALE, max_pairs=sizes.max_pairs)

    works: list[tuple[str, int, Callable[[], None]]] = [
        ("epoch", sizes.train, step),
        ("evaluation", sizes.test, evaluate),
    ]
    for name, images, work in works:
        seconds = median_seconds(work, device, sizes.steps, sizes.warm_up)
        count = -(-images // sizes.batch)
        label = f"{what}: {name} of {images:,} images, {sizes.steps} of {count} steps, scaled"
        yield measured("epoch", label, seconds * count, "s")
        yield measured("epoch", f"{what}: {name}, peak memory", peak_mib(work, device), "MiB")
    # a start at zero-shot CLIP on random features has its loss, which steps must not blow up
    first, last = float(losses[0]), float(losses[-1])
    yield limited("epoch", f"{what}: last loss over the first", last / first, TIMES_CHANCE)


class Batches:
    """Batches of random features in bf16, over and over, moved to a device as a run moves them."""

    def __init__(self, device: torch.device, sizes: Sizes) -> None:
        count = 4 * sizes.batch
        spatial = torch.randn(count, sizes.locations, sizes.dim).bfloat16()
        source = MemoryFeatures(Features(torch.randn(count, sizes.dim), spatial))
        labels = torch.randint(sizes.classes, (count,))
        self.loader = FeatureLoader([source], labels, sizes.batch, shuffle=True)
        self.device = device
        self._rest = iter(self.loader)

    def next(self) -> tuple[Features, Tensor]:
        """Return features and labels [B] of the next batch, on the device."""
        batch = next(self._rest, None)
        if batch is None:
            self._rest = iter(self.loader)
            batch = next(self._rest)
        return batch["features"].to(self.device), batch["label"].to(self.device)
