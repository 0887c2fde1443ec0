"""Start-up in units of `import torch`, and reading cached features against a plain read.

    python -m benchmarks.startup

Commands take turns; medians. Help is compared with Python alone, a run of a training-free method
whose features are cached with `import torch`, by its first line, its accuracy and its end, and with
the import of OpenAI's package `clip`, which brings torchvision along. Reading: cached features as
an evaluation fetches them, in batches of 100 and in order (the layout is that of ImageNet's on
RN50, S 49 and D 1024 in bf16), a plain read of the same files, both from the page cache, and the
conversion of their mapped bytes to fp32 in one pass.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.machine import write_results
from vtclip.features.store import CacheEntry, FeatureStore
from vtclip.features.stored import ShardWriter, StoredFeatures, map_shard
from vtclip.image_features import Features
from vtclip.protocol import COMMON

ROOT = Path(__file__).resolve().parents[1]
S, D, READ = 49, 1024, 1 << 24
BATCH: int = COMMON["DATALOADER.TEST.BATCH_SIZE"]
KEY_BYTES = 32


def seconds_of(arguments: Sequence[str]) -> tuple[float, float, float]:
    """Return the seconds of a Python process to its first line, to its accuracy and to its end.

    Where it prints no line, or no accuracy, they are those to its end.
    """
    started, accuracy = time.perf_counter(), None
    with subprocess.Popen(
        [sys.executable, "-u", *arguments], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - started
        for line in process.stdout:
            if line.startswith(b"accuracy"):
                accuracy = time.perf_counter() - started
    ended = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
    return first, ended if accuracy is None else accuracy, ended


def compare_starts(repetitions: int, folder: Path) -> dict[str, Any]:
    """Return median seconds of commands, and what is held against the targets."""
    cached = ("FEATURES.ROOT", str(folder / "features"))

    def free(number: int) -> list[str]:
        output = str(folder / f"run{number}")
        return ["train.py", "--trainer", "TipAdapter", "--output-dir", output, *cached]

    seconds_of(free(-1))  # fills the cache
    found: dict[str, list[tuple[float, float, float]]] = {}
    for number in range(repetitions):
        commands = {
            "python": ["-c", "pass"],
            "import torch": ["-c", "import torch"],
            "import torch, clip": ["-c", "import vtclip.backbones.clip_package"],
            "train.py --help": ["train.py", "--help"],
            "vtclip --help": ["-m", "vtclip", "--help"],
            "TipAdapter, cached": free(number),
        }
        for name, arguments in commands.items():
            found.setdefault(name, []).append(seconds_of(arguments))
    first, accuracy, whole = (
        {name: median(times[part] for times in runs) for name, runs in found.items()}
        for part in range(3)
    )
    free_run = "TipAdapter, cached"
    return {
        "median_seconds": whole,
        "first_line_seconds": {free_run: first[free_run]},
        "help_beyond_python_seconds": whole["train.py --help"] - whole["python"],
        "first_line_over_import_torch": first[free_run] / whole["import torch"],
        "accuracy_over_import_torch": accuracy[free_run] / whole["import torch"],
        "accuracy_over_import_clip": accuracy[free_run] / whole["import torch, clip"],
        "whole_run_over_import_torch": whole[free_run] / whole["import torch"],
        "targets": {"help_beyond_python_seconds": 0.3, "first_line_over_import_torch": 1.5},
    }


def write_features(entry: CacheEntry, images: int) -> list[bytes]:
    """Fill a cache entry with features of `images` images, and return their keys."""
    keys = [number.to_bytes(KEY_BYTES, "big") for number in range(images)]
    part = Features(
        torch.randn(BATCH, D).bfloat16(), torch.randn(BATCH, S, D, dtype=torch.float32).bfloat16()
    )
    with entry.writing():
        writer = ShardWriter(entry, "joint")
        for start in range(0, images, BATCH):
            writer.add(keys[start : start + BATCH], part)
        writer.flush()
    return keys


def plain_read(paths: Sequence[Path]) -> int:
    """Read files into a buffer, and return how many bytes they hold."""
    buffer, total = bytearray(READ), 0
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                total += count
    return total


def compare_reading(images: int, repetitions: int, folder: Path) -> dict[str, Any]:
    """Return bytes a second of cached features and of a plain read, in turns."""
    entry = FeatureStore(folder / "store").entry({"benchmark": "startup"}, backbone="random")
    keys = write_features(entry, images)
    paths = [shard.path for shard in entry.shards()]
    stored = StoredFeatures(entry, keys, "joint")
    batches = torch.arange(images).split(BATCH)
    rates: dict[str, list[float]] = {"plain read": [], "cached features": [], "conversion": []}
    mapped = [map_shard(shard, spatial=True)[1].spatial_features for shard in entry.shards()]
    parts = [part for values in mapped if values is not None for part in values.split(BATCH)]
    held = torch.empty(BATCH, S, D)
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        size = plain_read(paths)
        middle = time.perf_counter()
        for rows in batches:
            stored.fetch(rows)
        ended = time.perf_counter()
        rates["plain read"].append(size / (middle - started))
        # of the bytes on disk; fetched ones are fp32, so twice as many
        rates["cached features"].append(size / (ended - middle))
        started = time.perf_counter()
        for part in parts:
            held[: len(part)].copy_(part)
        # what no reader that hands on fp32 can beat: one pass, into memory that is there
        read = sum(part.nbytes for part in parts)
        rates["conversion"].append(read / (time.perf_counter() - started))
    # the first round maps the pages
    medians = {name: median(values[1:]) for name, values in rates.items()}
    return {
        "bytes": size,
        "bytes_per_second": medians,
        "share_of_plain_read": medians["cached features"] / medians["plain read"],
        "first_round_bytes_per_second": {name: values[0] for name, values in rates.items()},
        "share_of_conversion": medians["cached features"] / medians["conversion"],
        "target": 0.8,
    }


def main() -> None:
    """Measure, print and write benchmarks/results/startup.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_800, help="1.3 GB")
    args, started = parser.parse_args(), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        starts = compare_starts(args.repetitions, Path(name))
        print(starts, flush=True)
        # a round of reading takes less time than a start
        reading = compare_reading(args.images, 3 * args.repetitions, Path(name))
        print(reading)
    write_results("startup", started, {"starts": starts, "reading": reading})


if __name__ == "__main__":
    main()
