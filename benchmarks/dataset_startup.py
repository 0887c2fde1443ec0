"""Seconds from a configuration to the lists of a run, against the number of images.

    python benchmarks/dataset_startup.py [--folder DIR] [--json FILE]

Builds data roots of empty files with the layout of a split dataset (one folder a class, 250 images
each; half train, a fifth val, the rest test) and an ImageNet of the same sizes, then builds the
dataset at 16 shots. "stats" counts the questions about single files that Python asked the system.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dassl.config import get_cfg_default
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets import listing_cache
from datasets.base import ImageDataset
from datasets.food101 import Food101
from datasets.imagenet import ImageNet
from datasets.split import check_labels, read_split
from vtclip.config import extend_cfg

IMAGES_A_CLASS = 250
SHOTS = 16


def configuration(root: Path) -> Any:
    """Return a configuration of 16 shots in `root`."""
    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.DATASET.ROOT = str(root)
    cfg.DATASET.NUM_SHOTS = SHOTS
    return cfg


def touch(folder: Path, names: list[str]) -> None:
    """Make empty files."""
    folder.mkdir(parents=True)
    for name in names:
        os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY))


def make_split_root(root: Path, images: int) -> Path:
    """Write a Food101 of `images` empty files and return its split file."""
    split: dict[str, list[list[Any]]] = {"train": [], "val": [], "test": []}
    names = [f"{number}.jpg" for number in range(IMAGES_A_CLASS)]
    for label in range(images // IMAGES_A_CLASS):
        folder = f"class_{label:04d}"
        touch(root / Food101.dataset_dir / Food101.image_dir / folder, names)
        for number, name in enumerate(names):
            part = "train" if number < 125 else "val" if number < 175 else "test"
            split[part].append([f"{folder}/{name}", label, folder])
    path = root / Food101.dataset_dir / Food101.split_file
    path.write_text(json.dumps(split))
    return path


def make_imagenet(root: Path, images: int) -> None:
    """Write an ImageNet of `images` empty training files and one validation file a class."""
    per_class = images // 1000
    wnids = [f"n{number:08d}" for number in range(1000)]
    for wnid in wnids:
        names = [f"{wnid}_{number}.JPEG" for number in range(per_class)]
        touch(root / "imagenet" / "images" / "train" / wnid, names)
        touch(root / "imagenet" / "images" / "val" / wnid, names[:1])
    names_file = root / "imagenet" / "classnames.txt"
    names_file.write_text("".join(f"{wnid} class {wnid}\n" for wnid in wnids))


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that `call` takes, on the clock and of this process's work."""
    gc.collect()
    start, work = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - work


def count_stats(call: Callable[[], object]) -> int:
    """Return how often `call` asks about a single file."""
    asked = 0

    original = os.stat

    def counted(*args: Any, **options: Any) -> os.stat_result:
        nonlocal asked
        asked += 1
        return original(*args, **options)

    os.stat = counted  # type: ignore[assignment]
    try:
        call()
    finally:
        os.stat = original
    return asked


def build(cls: type[ImageDataset], root: Path) -> ImageDataset:
    """Build a dataset as a run does."""
    random.seed(1)
    return cls(configuration(root))


def measure_split(root: Path, images: int) -> dict[str, Any]:
    """Return the figures of a dataset with a split file."""
    split = make_split_root(root, images)
    read = timed(lambda: check_labels(read_split(split, "food-101/images/"), split))
    columns = {**figures("read and check", read), **start_figures(Food101, root)}
    return row("split file", images, columns)


def measure_imagenet(root: Path, images: int) -> dict[str, Any]:
    """Return the figures of an ImageNet."""
    make_imagenet(root, images)
    # class folders that changed this moment are not remembered
    time.sleep(listing_cache.SETTLED_NS / 1e9)
    return row("class folders", images, start_figures(ImageNet, root))


def start_figures(cls: type[ImageDataset], root: Path) -> dict[str, Any]:
    """Return the figures of the first start, the next one, and the stats of a third."""
    return {
        **figures("first start", timed(lambda: build(cls, root))),
        **figures("next start", timed(lambda: build(cls, root))),
        "stats": count_stats(lambda: build(cls, root)),
    }


def figures(name: str, seconds: tuple[float, float]) -> dict[str, float]:
    """Return seconds by column."""
    return {f"{name} (s)": round(seconds[0], 2), f"{name} (CPU s)": round(seconds[1], 2)}


def measure(folder: Path, sizes: list[int], imagenet_sizes: list[int]) -> list[dict[str, Any]]:
    """Return one row a data root."""
    # made-up roots have no known sizes
    Food101.sizes = ImageNet.sizes = None
    rows = []
    for one, numbers in ((measure_split, sizes), (measure_imagenet, imagenet_sizes)):
        for images in numbers:
            with tempfile.TemporaryDirectory(dir=folder) as name:
                rows.append(one(Path(name), images))
    return rows


def row(kind: str, images: int, columns: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a data root by column."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"lists from": kind, "images": images, **columns, "peak so far (MiB)": round(peak)}


def main() -> None:
    """Measure, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to build data roots (default: /tmp)")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--sizes", type=int, nargs="*", default=[5000, 50000, 100000])
    parser.add_argument("--imagenet-sizes", type=int, nargs="*", default=[100000, 1281000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        rows = measure(arguments.folder, arguments.sizes, arguments.imagenet_sizes)
    print(tabulate(rows, headers="keys"))
    print(json.dumps(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
