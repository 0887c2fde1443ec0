"""Check what this project does on a GPU, in about ten minutes.

    python -m benchmarks.check_gpu [--device cuda] [--small] [--output output/check_gpu]

Writes check_gpu.json and check_gpu.md. Exit codes: 0 all passed, 1 a check failed, 2 there is no
such device.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.check_gpu.contest import check_contest
from benchmarks.check_gpu.encoding import check_encoding
from benchmarks.check_gpu.epoch import check_epoch
from benchmarks.check_gpu.equality import check_equality
from benchmarks.check_gpu.lines import Line, all_passed, not_run
from benchmarks.check_gpu.methods import check_methods
from benchmarks.check_gpu.page import page_of
from benchmarks.check_gpu.resume import check_resume
from benchmarks.check_gpu.sizes import FULL, SMALL, Sizes
from benchmarks.machine import machine
from vtclip.errors import UserError, reason_of, run_command
from vtclip.files import write_json, write_text

ONLY_ON_CUDA = (
    "logits and gradients of CUDA against the CPU's",
    "a run that is stopped and goes on, on CUDA",
    "images/s, epochs and peaks of memory of CUDA",
    "torch's flash attention of CUDA",
)
OUTPUT = Path(__file__).resolve().parents[2] / "output" / "check_gpu"


def main(argv: Sequence[str] | None = None) -> int:
    """Run all checks and write what they found.

    Returns:
        0, or 1 where a line failed.

    Raises:
        UserError: there is no such device.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="small sizes, in seconds")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the result")
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device: this PyTorch finds no CUDA device; `--device cpu --small` runs every step "
            "on the CPU."
        )
    started = time.perf_counter()
    sizes = SMALL if arguments.small else FULL
    lines = []
    for line in all_lines(torch.device(arguments.device), sizes):
        print(f"{line.state:8} {line.check}: {line.what}: {line.figure}", flush=True)
        lines.append(line)
    seconds = round(time.perf_counter() - started, 1)
    found = {**machine(), "run_seconds": seconds}
    content = {
        "device": arguments.device,
        "small": arguments.small,
        "machine": found,
        "passed": all_passed(lines),
        "lines": [dataclasses.asdict(line) for line in lines],
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output / "check_gpu.json", content)
    page = page_of(lines, found, arguments.device, sizes)
    write_text(arguments.output / "check_gpu.md", page)
    verdict = "all passed" if content["passed"] else "failed"
    print(f"{verdict} after {seconds} s: {arguments.output / 'check_gpu.md'}")
    return 0 if content["passed"] else 1


def all_lines(device: torch.device, sizes: Sizes) -> Iterator[Line]:
    """Run the checks one after another; where one ends in an error of the device, the next."""
    with tempfile.TemporaryDirectory() as folder:
        checks: dict[str, Callable[[], Iterator[Line]]] = {
            "equality": lambda: check_equality(device, sizes),
            "resume": lambda: check_resume(device, sizes, Path(folder)),
            "methods": lambda: check_methods(device, sizes, Path(folder)),
            "encoding": lambda: check_encoding(device, sizes),
            "epoch": lambda: check_epoch(device, sizes),
            "attention": lambda: check_contest(device, sizes),
        }
        for name, check in checks.items():
            try:
                yield from check()
            except RuntimeError as error:
                yield Line(name, "ended by an error", "failed", " ".join(reason_of(error).split()))
    if device.type == "cpu":
        yield from (not_run("cuda", what, "no CUDA device") for what in ONLY_ON_CUDA)


if __name__ == "__main__":
    sys.exit(run_command(main))
