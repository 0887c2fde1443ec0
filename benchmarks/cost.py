"""The law of costs on sweeps that are run here: `python -m benchmarks.cost`.

A sweep of few shots gives the records on which the law is fitted (vtclip/sweep/cost.py), and the
seconds of another one, of more shots, more classes and other methods' sizes, are predicted before
it runs. Then the images of a folder are encoded by one process and by two, in turns, each on an
empty cache. `--record FILE` fits on a record that is there, and runs nothing. Both ways the
prediction for CoOp's eleven datasets is printed at the end. Images are noise, and the backbone of
RN50's size has random weights: neither changes what they cost.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tabulate import tabulate

from benchmarks.encoding import random_weights
from vtclip.errors import UserError, run_command
from vtclip.sweep.cost import CostModel, RunSizes, fit_costs, sizes_of, tokens_by_dataset
from vtclip.sweep.record import RunRecord, SweepRecord

ROOT = Path(__file__).parents[1]
METHODS = ("ZeroshotCLIP", "TipAdapterF", "VTCLIP")
EPOCHS, VIEWS = 10, 1
# test images and classes (datasets/*.py have the numbers of every part)
ELEVEN = {
    "imagenet": (50_000, 1000),
    "caltech101": (2465, 100),
    "oxford_pets": (3669, 37),
    "stanford_cars": (8041, 196),
    "oxford_flowers": (2463, 102),
    "food101": (30_300, 101),
    "fgvc_aircraft": (3333, 100),
    "sun397": (19_850, 397),
    "dtd": (1692, 47),
    "eurosat": (8100, 10),
    "ucf101": (3783, 101),
}
SHOTS, SEEDS, BATCH, TOKENS, WIDTH = (1, 2, 4, 8, 16), 3, 32, 49, 1024
# what is taken for a GPU, since none was measured
FASTER, BENCHMARK_EPOCHS, BENCHMARK_VIEWS = 100.0, 20, 10


def write_photos(folder: Path, classes: int, per_class: int) -> Path:
    """Write a folder of classes of noise; return the configuration file of the dataset."""
    drawn = np.random.default_rng((classes, per_class))
    for number in range(classes):
        place = folder / f"class_{number:03d}"
        place.mkdir(parents=True)
        for image in range(per_class):
            pixels = drawn.integers(0, 256, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((256, 256)).save(place / f"{image}.jpg")
    config = folder.with_suffix(".yaml")
    config.write_text(f'DATASET:\n  NAME: "ImageFolder"\n  ROOT: "{folder}"\n')
    return config


def run_sweep(place: Path, cache: str, *words: str) -> float:
    """Run a sweep with one thread per process; return its seconds by the clock.

    Raises:
        UserError: it fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VTCLIP_CACHE": str(place / cache)}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(ROOT / "sweep.py"), *words],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"sweep.py {' '.join(words)}: {' '.join(done.stderr.splitlines()[-1:])}")
    return time.perf_counter() - started


def common_words(datasets: Sequence[Path], shots: str, seeds: str, backbone: str) -> list[str]:
    """Return the options of a sweep of this benchmark."""
    return [
        *("--methods", ",".join(METHODS), "--datasets", ",".join(map(str, datasets))),
        *("--shots", shots, "--seeds", seeds, "--backbone", backbone),
        *("--set", f"OPTIM.MAX_EPOCH={EPOCHS}", "--set", f"FEATURES.VIEWS={VIEWS}"),
    ]


def predicted(model: CostModel, records: Sequence[RunRecord], tokens: int) -> list[float]:
    """Return the seconds of runs by the law, without their features."""
    return [model.runs[one.method].seconds(sizes_of(one, tokens)) for one in records]


def measured(record: RunRecord) -> float:
    """Return the seconds of a run without its features."""
    return record.measures["total"] - record.measures.get("features", 0.0)


def compare_with_sweep(place: Path, weights: Path) -> CostModel:
    """Fit on a sweep of few shots, and print prediction and measurement of one of many."""
    small, middle, large = (write_photos(place / f"k{count}", count, 24) for count in (8, 24, 40))
    few = write_photos(place / "few", 8, 12)
    for datasets, backbone in (((small, middle), "tiny"), ((few,), str(weights))):
        run_sweep(place, "cache", *common_words(datasets, "1,4", "1", backbone))
    known = SweepRecord(place / "output" / "sweep.json").known()
    model = fit_costs(known)
    words = common_words((middle, large), "2,8", "1", "tiny")
    wall = run_sweep(place, "cache", *words, "--record", "second.json")
    second = SweepRecord(place / "second.json").known()
    runs = [one for one in second if one.method]
    (tokens,) = set(tokens_by_dataset(second).values())
    rows = []
    for method in METHODS:
        own = [one for one in runs if one.method == method]
        law, seen = sum(predicted(model, own, tokens)), sum(map(measured, own))
        rows.append((method, len(own), f"{law:.1f}", f"{seen:.1f}", f"{law / seen:.2f}"))
    images = sum(one.measures.get("encoded", 0.0) for one in second)
    law = images * model.image_seconds["tiny"]
    seen = sum(one.measures.get("encode_seconds", 0.0) for one in second)
    rows.append(
        (f"encoding, {images:.0f} images", "", f"{law:.1f}", f"{seen:.1f}", f"{law / seen:.2f}")
    )
    print(f"fitted on {sum(one.method != '' for one in known)} runs; the other took {wall:.0f} s")
    print(tabulate(rows, ("", "runs", "predicted s", "measured s", "ratio"), disable_numparse=True))
    return model


def compare_processes(place: Path, weights: Path, rounds: int) -> None:
    """Print what two processes gain in encoding; require equal features.

    Raises:
        UserError: the caches differ.
    """
    # two batches of 100 of the test
    photos = write_photos(place / "many" / "test", 4, 50).with_name("test")
    write_photos(place / "many" / "train", 4, 2)
    config = place / "many.yaml"
    config.write_text(f'DATASET:\n  NAME: "ImageFolder"\n  ROOT: "{photos.parent}"\n')
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        caches = []
        for count in seconds:
            cache = place / f"cache-{count}-{number}"
            seconds[count].append(seconds_in_parts(cache, config, weights, count))
            caches.append(features_in(cache))
        one, two = caches
        if one.keys() != two.keys() or any(not one[key].equal(two[key]) for key in one):
            raise UserError("two processes: other features than one process makes.")
    first, second = (statistics.median(seconds[count]) for count in seconds)
    print(
        f"encoding {len(one)} images, RN50's size: {first:.1f} s by one process, {second:.1f} s by "
        f"two ({first / second:.2f} times), medians of {rounds}; equal features",
        flush=True,
    )


PART = """
import json, sys
from vtclip.commands import train
from vtclip.sweep.encoding import encode
run = train.parse_args(sys.argv[3:])
print(json.dumps(encode(train.plan_of, [run], (int(sys.argv[1]), int(sys.argv[2])))))
"""


def seconds_in_parts(cache: Path, config: Path, weights: Path, count: int) -> float:
    """Encode a test by so many processes of one thread; return the seconds of the slowest.

    Raises:
        UserError: one of them fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VTCLIP_CACHE": str(cache)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    words = ["--trainer", "ZeroshotCLIP", "--dataset-config-file", str(config)]
    words += ["--backbone", str(weights), "--shots", "1", "--seed", "1"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PART, str(number), str(count), *words],
            cwd=cache.parent,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    answers = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise UserError("a process that encodes failed.")
    return max(json.loads(text.splitlines()[-1])["encode_seconds"] for text in answers)


def features_in(root: Path) -> dict[bytes, torch.Tensor]:
    """Return the features in a cache, global and spatial in one row, by entry and image."""
    from safetensors.torch import load_file

    found = {}
    for path in sorted(root.glob("*/*.safetensors")):
        shard = load_file(path)
        for row, key in enumerate(shard["keys"]):
            parts = [shard[name][row].flatten() for name in ("global", "spatial") if name in shard]
            found[path.parent.name.encode() + bytes(key.tolist())] = torch.cat(parts)
    return found


def benchmark_rows(model: CostModel, image_seconds: float) -> list[tuple[str, ...]]:
    """Return the prediction for the eleven datasets: hours on one and on eight GPUs."""
    train = sum(16 * classes * SEEDS for _, classes in ELEVEN.values())
    images = sum(test for test, _ in ELEVEN.values()) + train * (1 + BENCHMARK_VIEWS)
    rows = [hours(f"encoding, {images:,} images", images * image_seconds / FASTER)]
    for method, law in model.runs.items():
        seconds = 0.0
        for test, classes in ELEVEN.values():
            for shots in SHOTS:
                count = classes * shots
                batch = min(BATCH, count)
                steps = BENCHMARK_EPOCHS * max(1, count // BATCH) if any(law.step) else 0
                size = RunSizes(classes, TOKENS, WIDTH, batch, steps, count, test)
                seconds += SEEDS * law.seconds(size, FASTER)
        rows.append(hours(f"{method}, {len(ELEVEN) * len(SHOTS) * SEEDS} runs", seconds))
    return rows


def hours(name: str, seconds: float) -> tuple[str, ...]:
    """Return a row of the prediction."""
    return name, f"{seconds / 3600:.2f}", f"{seconds / 3600 / 8:.2f}"


def show(model: CostModel) -> None:
    """Print the law, and the prediction for the eleven datasets."""
    laws = [
        (name, *(f"{v:.3g}" for v in (*law.step, *law.rest))) for name, law in model.runs.items()
    ]
    print(tabulate(laws, ("method", "a0", "a1", "a2", "c0", "c1", "c2"), disable_numparse=True))
    for backbone, seconds in model.image_seconds.items():
        print(f"{Path(backbone).name}: {seconds * 1000:.2f} ms per image")
    slowest = max(model.image_seconds.values(), default=0.0)
    print(f"PREDICTION, a GPU taken for {FASTER:g} times one of these cores (none was measured):")
    heads = ("hours", "1 GPU", "8 GPUs")
    print(tabulate(benchmark_rows(model, slowest), heads, disable_numparse=True))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", type=Path, help="fit on this record and run nothing")
    parser.add_argument(
        "--rounds", type=int, default=2, help="of encoding by one and two processes"
    )
    args = parser.parse_args()
    if args.record:
        show(fit_costs(SweepRecord(args.record).known()))
        return
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        weights = place / "rn50_random.pt"
        torch.save(random_weights(), weights)
        model = compare_with_sweep(place, weights)
        show(model)
        compare_processes(place, weights, args.rounds)


if __name__ == "__main__":
    sys.exit(run_command(main))
