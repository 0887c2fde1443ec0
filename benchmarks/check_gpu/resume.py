"""Does a run that is stopped in the middle and goes on come to the numbers of an unbroken one?

VT-CLIP on the digits and the small CLIP that come along, 4 shots. On a CPU the weights must be
equal to the last bit. On CUDA, where PyTorch does not promise that of two runs, two unbroken runs
are compared, too; the resumed one may be FACTOR times as far away as they are from each other, and
always FLOOR.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.check_gpu.lines import Line, limited, measured, not_run
from benchmarks.check_gpu.runs import finish, start
from benchmarks.check_gpu.sizes import Sizes
from vtclip import checkpoints
from vtclip.results import read_result

FACTOR, FLOOR = 4.0, 1e-3
# share of the epochs after which the run is stopped
STOP_AT = 0.1
# where other programs keep all cores busy, a run may end before its log is read
TRIES = 5
EPOCH = re.compile(r"epoch \[(\d+)/")


def check_resume(device: torch.device, sizes: Sizes, folder: Path) -> Iterator[Line]:
    """Run, run and stop and go on, and compare the weights and the accuracies.

    Args:
        folder: an empty one, for the runs.
    """
    on_cuda = device.type == "cuda"
    whole, again = folder / "unbroken", folder / "again"
    options = ("OPTIM.MAX_EPOCH", str(sizes.epochs), "TRAIN.PRINT_FREQ", "1")
    finish(start(whole, device, "VTCLIP", options))
    for number in range(TRIES):
        resumed = folder / f"resumed-{number}"
        process = start(resumed, device, "VTCLIP", options)
        if stop(process, resumed, STOP_AT * sizes.epochs):
            break
    else:
        yield not_run("resume", "weights", "the run was finished before it could be stopped")
        return
    finish(start(resumed, device, "VTCLIP", options))
    limit = 0.0
    if on_cuda:
        finish(start(again, device, "VTCLIP", options))
        by_chance = distance(whole, again, sizes.epochs)
        yield measured("resume", "two unbroken runs: distance of weights", by_chance, "of length")
        limit = max(FLOOR, FACTOR * by_chance)
    apart = distance(whole, resumed, sizes.epochs)
    yield limited("resume", "resumed and unbroken: distance of weights", apart, limit, "of length")
    accuracies = [read_result(run / "result.json").accuracy for run in (whole, resumed)]
    limit = 100.0 / read_result(whole / "result.json").total if on_cuda else 0.0
    what = "resumed and unbroken: accuracies"
    # of one image, or none
    yield limited("resume", what, abs(accuracies[0] - accuracies[1]), limit, "points")


def distance(first: Path, second: Path, epochs: int) -> float:
    """Return the length of the difference of the trained weights of two runs, over their length."""
    vectors = []
    for run in (first, second):
        saved = checkpoints.load(run / "head" / f"model.pth.tar-{epochs}")["state_dict"]
        vectors.append(torch.cat([saved[name].double().flatten() for name in sorted(saved)]))
    return float((vectors[0] - vectors[1]).norm() / vectors[0].norm())


def stop(process: subprocess.Popen[str], folder: Path, epoch: float) -> bool:
    """Stop a run when its log names an epoch; return whether it left a state to go on from."""
    log = folder / "log.txt"
    while process.poll() is None and epoch_of(log) < epoch:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    return (folder / "head" / checkpoints.UNFINISHED).is_file()


def epoch_of(log: Path) -> int:
    """Return the last epoch that a log names, 0 for none."""
    if not log.is_file():
        return 0
    return max((int(number) for number in EPOCH.findall(log.read_text())), default=0)
