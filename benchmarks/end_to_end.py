"""A whole run, CoOp's way and ours, on a backbone of the size of RN50 with random weights.

    python -m benchmarks.end_to_end

Digits, 16 shots, 200 epochs of VT-CLIP. CoOp's way encodes every training image anew in every
epoch, in fp32 and PyTorch's default memory format; ours encodes the cached views once, and trains
the head with bf16 products where they are fast, and with fp32 ones in a second run. A few epochs of
each are measured and scaled to all, for CoOp's way would take more than an hour. Accuracy means
nothing here. The start-up time of train.py is measured beside, as what it takes beyond `import
torch`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from tabulate import tabulate

import train
from benchmarks.machine import precisions, write_results
from vtclip.backbones import openai_clip
from vtclip.config.keys import PROJECT_KEYS
from vtclip.features import Encoding
from vtclip.plugins import import_modules
from vtclip.results import read_result

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 200
RN50 = {
    "embed_dim": 1024,
    "image_resolution": 224,
    "vision_layers": (3, 4, 6, 3),
    "vision_width": 64,
    "vision_patch_size": None,
    "context_length": 77,
    "vocab_size": 49408,
    "transformer_width": 512,
    "transformer_heads": 8,
    "transformer_layers": 12,
}


def write_random_weights(path: Path) -> None:
    """Write the state dict of a CLIP of RN50's size."""
    from vtclip.backbones.clip_package import CLIP

    torch.manual_seed(0)
    torch.save(CLIP(**RN50).half().state_dict(), path)


def run(trainer: str, folder: Path, *options: str, as_loaded: bool = False) -> dict[str, Any]:
    """Train and test once in this process; return the seconds of its result by part.

    Args:
        trainer: its name.
        folder: holds data, weights and the cache of all runs.
        options: KEY VALUE pairs.
        as_loaded: encode as CLIP is loaded, in PyTorch's default memory format and with batch norms
            of their own.
    """
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed

    output = folder / "runs" / f"{trainer}-{time.time_ns()}"
    args = train.parse_args(
        [
            *("--trainer", trainer, "--root", str(folder / "data"), "--output-dir", str(output)),
            *("--backbone", str(folder / "rn50.pt"), "FEATURES.ROOT", str(folder / "cache")),
            *("DATALOADER.NUM_WORKERS", "2", "TRAIN.PRINT_FREQ", "1000", *options),
        ]
    )
    import_modules(["trainers", "datasets"])
    cfg, _ = train.plan_of(args).run(1, several=False)
    set_random_seed(cfg.SEED)
    with ExitStack() as patches:
        if as_loaded:
            patches.enter_context(
                mock.patch.object(Encoding, "memory_format", torch.contiguous_format)
            )
            patches.enter_context(mock.patch.object(openai_clip, "fold_batch_norms"))
        build_trainer(cfg).train()
    result = read_result(output / "result.json")
    return {"epochs": result.epochs, **result.seconds}


def scaled(seconds: dict[str, Any]) -> float:
    """Return the seconds of a whole run, from those of one with fewer epochs."""
    return float(seconds["total"] + seconds["train"] * (EPOCHS / seconds["epochs"] - 1))


def startup(repetitions: int) -> dict[str, float]:
    """Return median seconds of `import torch`, and of train.py from there to its configuration."""
    code = (
        "from time import perf_counter as now; start = now(); import torch; middle = now();"
        "import train; from vtclip.plugins import import_modules;"
        "import_modules(['trainers', 'datasets']); train.plan_of(train.parse_args([]));"
        "print(middle - start, now() - middle)"
    )
    command = [sys.executable, "-c", code]
    seconds = []
    for _ in range(repetitions):
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        seconds.append([float(word) for word in done.stdout.split()[-2:]])
    first, second = zip(*seconds, strict=True)
    return {"import torch": median(first), "train.py beyond": median(second)}


def main() -> None:
    """Measure, print a table, and write results/end_to_end.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--on-the-fly-epochs", type=int, default=2, help="measured of CoOp's way")
    parser.add_argument("--cached-epochs", type=int, default=20, help="measured of ours")
    options = parser.parse_args()
    started = time.perf_counter()
    starting = startup(5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_random_weights(folder / "rn50.pt")
        on_the_fly = run(
            "VTCLIP",
            folder,
            *("FEATURES.VIEWS", "0", "FEATURES.CACHE", "False", "FEATURES.PRECISION", "fp32"),
            *("OPTIM.MAX_EPOCH", str(options.on_the_fly_epochs)),
            *("TRAINER.VTCLIP.PREC", "fp32"),
            as_loaded=True,
        )
        epochs = ("OPTIM.MAX_EPOCH", str(options.cached_epochs))
        cached = run("VTCLIP", folder, *epochs)
        by_precision = {precisions()[-1]: cached}
        if "fp32" not in by_precision:
            by_precision["fp32"] = run("VTCLIP", folder, *epochs, "TRAINER.VTCLIP.PREC", "fp32")
        others = {
            trainer: run(trainer, folder, *own)
            for trainer, own in (
                ("TipAdapterF", ()),
                ("CLIPAdapter", ("OPTIM.MAX_EPOCH", str(EPOCHS))),
            )
        }
    coop = scaled(on_the_fly)
    ours = {
        # a second run finds the features that the first has encoded
        precision: scaled(seconds) + cached["features"] - seconds["features"]
        for precision, seconds in by_precision.items()
    }
    part = f"{options.cached_epochs} of {EPOCHS} epochs, scaled"
    rows = [
        (
            "VT-CLIP, CoOp's way",
            coop,
            f"{on_the_fly['epochs']} of {EPOCHS} epochs measured, scaled",
        ),
        *(
            (f"VT-CLIP, ours, {precision}", seconds, f"{part}; {coop / seconds:.1f} times faster")
            for precision, seconds in ours.items()
        ),
        (
            "of which encoding",
            cached["features"],
            f"{PROJECT_KEYS['FEATURES.VIEWS'].default} views and the test images; the rest: "
            f"{EPOCHS} epochs of the head, test",
        ),
        *((trainer, seconds["total"], "measured") for trainer, seconds in others.items()),
        ("import torch", starting["import torch"], "median of 5"),
        ("train.py to its configuration", starting["train.py beyond"], "beyond import torch"),
    ]
    print(tabulate(rows, ["", "seconds", ""], floatfmt=".2f"))
    write_results(
        "end_to_end",
        started,
        {
            "on_the_fly": on_the_fly,
            "on_the_fly_scaled_seconds": coop,
            "cached": cached,
            "cached_scaled_seconds": ours[precisions()[-1]],
            "products": precisions()[-1],
            "by_precision": by_precision,
            "scaled_seconds_by_precision": ours,
            "epochs": EPOCHS,
            "others": others,
            "startup": starting,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
