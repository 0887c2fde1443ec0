"""Images a second of the image encoder, for every combination of the switches that matter.

    python -m benchmarks.encoding

The backbone has the size of CLIP's RN50 and random weights. All arms take turns within one run, a
batch each, and each is judged by its fastest batch. On a busy machine they vary; the seconds
of processor time beside it suffer less. The last rows are the paths of this project: `encode_batch`
on a batch, and `image_features` from JPEG files (reading, decoding and resizing included). The
first run compiles for minutes; the compiler's own cache serves the ones after it.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tabulate import tabulate
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.machine import precisions, write_results
from vtclip.backbones.base import CLIP_MEAN, CLIP_STD, Backbone
from vtclip.backbones.openai_clip import OpenAIBackbone
from vtclip.features import Encoding, encode_batch, image_features, resolve_precision
from vtclip.image_features import Features

SIZE = 224


@dataclass
class Arm:
    """One way to encode a batch: what it is, and what it took."""

    name: str
    precision: str
    channels_last: bool
    compiled: bool
    encode: Callable[[], object]
    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Encode a batch once, and note how long it took."""
        start, cpu_start = time.perf_counter(), time.process_time()
        self.encode()
        self.seconds.append(time.perf_counter() - start)
        self.cpu_seconds.append(time.process_time() - cpu_start)


def random_weights() -> dict[str, Tensor]:
    """Return random weights of a CLIP of RN50's size."""
    from vtclip.backbones.clip_package import CLIP

    torch.manual_seed(0)
    model = CLIP(1024, SIZE, (3, 4, 6, 3), 64, None, 77, 49408, 512, 8, 12)
    return dict(model.state_dict())


def random_backbone() -> Backbone:
    """Return a CLIP of RN50's size with random weights."""
    return OpenAIBackbone("RN50 with random weights", random_weights())


def plain_arm(
    backbone: Backbone, images: Tensor, precision: str, channels_last: bool, compiled: bool
) -> Arm:
    """Return an arm written out, without anything of vtclip.features."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    backbone = copy.deepcopy(backbone).to(memory_format=layout)
    images = images.to(memory_format=layout)
    function = torch.compile(backbone.encode_image) if compiled else backbone.encode_image

    def encode() -> Features:
        bf16 = precision == "bf16"
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            return function(images, "joint")

    return Arm("plain", precision, channels_last, compiled, encode)


def own_arm(backbone: Backbone, images: Tensor, compiled: bool) -> Arm:
    """Return the arm of this project: FEATURES.PRECISION auto, the rest as it comes."""
    precision = resolve_precision("auto", "cpu")
    encoding = Encoding(
        copy.deepcopy(backbone), transform(), "", "joint", precision, compile=compiled
    )
    return Arm("encode_batch", precision, True, compiled, lambda: encode_batch(images, encoding))


def transform() -> Callable[[Image.Image], Tensor]:
    """Return CLIP's transform of test images."""
    return v2.Compose(
        [
            v2.Resize(SIZE, interpolation=v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(SIZE),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )


def write_photos(folder: Path, count: int) -> list[Path]:
    """Write JPEG files of ImageNet's usual size, smooth noise in them."""
    paths = []
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def from_files(backbone: Backbone, batch: int, batches: int) -> float:
    """Return images a second of `image_features` from files."""
    encoding = Encoding(backbone, transform(), "", "joint", resolve_precision("auto", "cpu"))
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photos(Path(folder), batch * batches)
        start = time.perf_counter()
        image_features(paths, encoding, cache=None, batch_size=batch, progress=False)
        return len(paths) / (time.perf_counter() - start)


def measure(batch: int, seconds: float, compiled: bool) -> dict[str, Any]:
    """Run all arms in turns and return their figures."""
    backbone = random_backbone()
    images = torch.randn(batch, 3, SIZE, SIZE)
    switches = [False, True] if compiled else [False]
    arms = [
        plain_arm(backbone, images, precision, channels_last, compile_it)
        for compile_it, precision, channels_last in itertools.product(
            switches, precisions(), (False, True)
        )
    ]
    arms += [own_arm(backbone, images, compile_it) for compile_it in switches]
    for arm in arms:
        arm.run()
        arm.first = arm.seconds.pop()
        arm.cpu_seconds.clear()
        print(f"first batch of {arm.name} {arm.precision}: {arm.first:.1f} s", flush=True)
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        rounds += 1
        for arm in arms:
            arm.run()
    speeds = [batch / min(arm.seconds) for arm in arms]
    best = max(speed for arm, speed in zip(arms, speeds, strict=True) if arm.name == "plain")
    rows = [
        {
            "path": arm.name,
            "precision": arm.precision,
            "channels_last": arm.channels_last,
            "compiled": arm.compiled,
            "first_batch_seconds": arm.first,
            "images_per_second": speed,
            "cpu_seconds_per_image": min(arm.cpu_seconds) / batch,
            "of_best": speed / best,
        }
        for arm, speed in zip(arms, speeds, strict=True)
    ]
    return {
        "batch_size": batch,
        "rounds": rounds,
        "arms": rows,
        "from_files_images_per_second": from_files(backbone, batch, 4),
    }


def main() -> None:
    """Measure, print a table, and write results/encoding.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=90.0, help="for all arms together")
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled arms")
    arguments = parser.parse_args()
    started = time.perf_counter()
    result = measure(arguments.batch, arguments.seconds, not arguments.no_compile)
    print(tabulate(result["arms"], headers="keys", floatfmt=".2f"))
    print(f"image_features from JPEG files: {result['from_files_images_per_second']:.1f} images/s")
    write_results("encoding", started, result)


if __name__ == "__main__":
    main()
