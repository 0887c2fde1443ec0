"""A process that reads images is killed in the middle of a training step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vtclip import checkpoints
from vtclip.results import read_result

from .conftest import ROOT

EPOCHS = 4
OPTIONS = (
    *("DATASET.NUM_SHOTS", "8", "OPTIM.MAX_EPOCH", str(EPOCHS), "DATALOADER.NUM_WORKERS", "1"),
    # every epoch is encoded anew, from images that a worker reads
    *("FEATURES.VIEWS", "0"),
)
PLUGIN = """
import multiprocessing, os, signal, time
import vtclip.checkpointing
from trainers.vtclip import VTCLIP
from vtclip.backbones import Backbone

# the images of a light backbone are read without workers
Backbone.is_light = False
vtclip.checkpointing.LARGEST_SHARE_OF_COPIES = 1e9
take_step = VTCLIP.forward_backward


def forward_backward(trainer, batch):
    if "LOSE_A_WORKER" in os.environ and (trainer.epoch, trainer.batch_idx) == (2, 0):
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        # torch's signal handler runs meanwhile
        time.sleep(1)
    return take_step(trainer, batch)


VTCLIP.forward_backward = forward_backward
"""


def test_a_run_says_what_is_saved_and_goes_on_to_equal_numbers(
    digits_root: Path, tmp_path: Path
) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)

    def run(folder: Path, **more: str) -> tuple[int, str]:
        environment = {
            **os.environ, "DATA": str(digits_root), "VTCLIP_CACHE": str(tmp_path / "cache"), **more,
        }  # fmt: skip
        command = [sys.executable, "train.py", "--plugin", str(plugin), *OPTIONS]
        command[2:2] = ["--output-dir", str(folder)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(whole) == (0, "")
    code, errors = run(broken, LOSE_A_WORKER="1")
    assert code == 2, errors
    assert errors.startswith("error: a process that reads images ended early (DataLoader worker")
    assert "killed by signal: Killed" in errors
    assert errors.endswith(
        "Of the training: saved after epoch 2 of 4; the same command goes on from there.\n"
    )
    assert len(errors.splitlines()) == 1
    assert checkpoints.load(broken / "head" / checkpoints.UNFINISHED)["epoch"] == 2
    assert not (broken / "result.json").exists()
    assert run(broken) == (0, "")
    first, second = (
        checkpoints.load(folder / "head" / f"model.pth.tar-{EPOCHS}")["state_dict"]
        for folder in (whole, broken)
    )
    assert all(first[name].equal(second[name]) for name in first)
    results = [read_result(folder / "result.json") for folder in (whole, broken)]
    assert results[0].accuracy == results[1].accuracy
