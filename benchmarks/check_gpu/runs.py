"""Runs of train.py on the digits and the small CLIP that come along, a process each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from vtclip.errors import shortened

ROOT = Path(__file__).resolve().parents[2]


def start(
    folder: Path, device: torch.device, method: str, options: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start a run of seed 1, or go on with it; data and cache lie beside its folder.

    Args:
        options: KEY VALUE pairs.
    """
    command = [sys.executable, "train.py", "--trainer", method, "--backbone", "tiny"]
    command += ["--shots", "4", "--seed", "1", "--output-dir", str(folder)]
    command += ["--root", str(folder.parent / "data"), "USE_CUDA", str(device.type == "cuda")]
    command += ["FEATURES.VIEWS", "2", "TRAIN.TRACK", "csv", *options]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "VTCLIP_CACHE": str(folder.parent / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for the end of a run.

    Raises:
        RuntimeError: it failed; says what it said last.
    """
    _, errors = process.communicate()
    if process.returncode:
        last = (errors.strip().splitlines() or ["nothing was said"])[-1]
        raise RuntimeError(f"train.py ended with {process.returncode}: {shortened(last)}")
