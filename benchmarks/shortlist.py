"""What a shortlist of classes costs in accuracy, and what it saves in time.

    python -m benchmarks.shortlist
    python -m benchmarks.shortlist --accuracy --name caltech101 --shots 4 --seeds 1 -- ARGUMENTS

Time: training steps and evaluations of batches at K 1000, D 1024, S 49 with random features, in
bf16 where that is fast, the shortlist and all classes in turns; medians are scaled to 16 shots of
ImageNet (16,000 training images and 50,000 test images). Accuracy: VT-CLIP on few-shot lists,
judged on all validation images; test images are not read. The ARGUMENTS are those of train.py that
name dataset and backbone.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import mean, median
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.machine import precisions, write_results
from benchmarks.validated import add_arguments, validated
from trainers.vtclip import VTCLIP
from vtclip.errors import run_command
from vtclip.layers import VisualGuidedAttention
from vtclip.layers.shortlist import shortlist_of
from vtclip.methods.zero_shot import cosine_logits
from vtclip.plugins import import_modules
from vtclip.precision import autocast

B, K, S, D, SCALE = 32, 1000, 49, 1024, 100.0
TRAINING_IMAGES, TEST_IMAGES = 16_000, 50_000
PAIRS = VTCLIP.OPTIONS["MAX_PAIRS"].default
TARGET = 15.0


def compare_times(count: int, repetitions: int) -> dict[str, Any]:
    """Return seconds of a training step and of an evaluated batch with a shortlist and without."""
    torch.manual_seed(0)
    texts, images, spatial = torch.randn(K, D), torch.randn(B, D), torch.randn(B, S, D)
    labels, head = torch.randint(K, (B,)), VisualGuidedAttention(D, zero_init=False)
    optimizer = torch.optim.AdamW(head.parameters(), 1e-4, fused=True)
    cpu = torch.device("cpu")
    products = torch.bfloat16 if "bf16" in precisions() else None

    def chosen(m: int, known: torch.Tensor | None) -> torch.Tensor | None:
        return shortlist_of(cosine_logits(images, texts, SCALE), m, known) if m < K else None

    def step(m: int) -> None:
        optimizer.zero_grad()
        with autocast(cpu, products):
            loss, _ = head.cross_entropy(
                *(texts, images, spatial, labels, SCALE),
                max_pairs=PAIRS,
                shortlist=chosen(m, labels),
            )
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def evaluate(m: int) -> None:
        with autocast(cpu, products):
            arguments = texts, images, spatial, SCALE
            head.logits(*arguments, max_pairs=PAIRS, shortlist=chosen(m, None))

    seconds: dict[str, dict[int, list[float]]] = {"training": {}, "evaluation": {}}
    for m in (count, K):
        evaluate(m)
    step(count)
    for _ in range(repetitions):
        for name, work in (("training", step), ("evaluation", evaluate)):
            for m, times in ((count, 3), (K, 1)):
                for _ in range(times):
                    started = time.perf_counter()
                    work(m)
                    seconds[name].setdefault(m, []).append(time.perf_counter() - started)
    batches = {"training": TRAINING_IMAGES / B, "evaluation": TEST_IMAGES / B}
    minutes = {
        m: {name: batches[name] * median(found[m]) / 60 for name, found in seconds.items()}
        for m in (count, K)
    }
    whole = {m: sum(parts.values()) for m, parts in minutes.items()}
    return {
        "shape": {"B": B, "K": K, "S": S, "D": D, "M": count},
        "products": precisions()[-1],
        "seconds": {name: {str(m): v for m, v in found.items()} for name, found in seconds.items()},
        "scaled_minutes": {str(m): parts for m, parts in minutes.items()},
        "times_faster": {
            **{name: minutes[K][name] / minutes[count][name] for name in batches},
            "epoch_and_evaluation": whole[K] / whole[count],
        },
        "target": TARGET,
    }


def compare_accuracies(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return accuracy and seconds of training by the size of the shortlist; 0 is the method."""
    import_modules(["trainers", "datasets"])
    epochs = ("OPTIM.MAX_EPOCH", str(args.epochs)) if args.epochs else ()
    found = []
    for count in args.counts:
        name = f"shortlist {count}, {args.epochs} epochs" if epochs else f"shortlist {count}"
        options = ("TRAINER.VTCLIP.SHORTLIST", str(count), *epochs)
        folder = args.output / args.name / name.replace(" ", "_")
        for shots in args.shots:
            results = [validated(options, shots, seed, args.data, folder) for seed in args.seeds]
            row = {
                "M": count,
                "shots": shots,
                "accuracy": [result.accuracy for result in results],
                "epochs": results[0].epochs,
                "train_seconds": mean(result.seconds["train"] for result in results),
            }
            print(row, flush=True)
            found.append(row)
    return found


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add_arguments(parser, [4], "output/shortlist")
    add("--accuracy", action="store_true", help="measure accuracy, not time")
    add("--counts", type=int, nargs="+", default=[0, 5, 10, 20, 50], help="M; 0 for all classes")
    add("--epochs", type=int, default=0, help="0: those of the protocol")
    add("--count", type=int, default=32, help="M of the times")
    add("--repetitions", type=int, default=3, help="steps with all classes")
    return parser.parse_args()


def main() -> None:
    """Run from the command line; accuracies and times are files of their own."""
    args, started = parse_args(), time.perf_counter()
    if args.accuracy:
        found = compare_accuracies(args)
        print(tabulate(found, "keys", "github"))
        write_results(f"shortlist_{args.name}", started, {"validation": found})
        return
    times = compare_times(args.count, args.repetitions)
    for name, ratio in times["times_faster"].items():
        print(f"{name}: {ratio:.1f} times faster with M {args.count} than with M {K} (scaled)")
    write_results("shortlist", started, times)


if __name__ == "__main__":
    sys.exit(run_command(main))
