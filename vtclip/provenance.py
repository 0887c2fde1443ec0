"""Where a result came from: versions, memory, and a digest of the configuration."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from yacs.config import CfgNode

from vtclip.config import flatten

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "pillow", "clip-anytorch")

# keys that say where and how a run is carried out, not what is computed
WHEREABOUTS = {
    "OUTPUT_DIR", "RESUME", "SEED", "VERBOSE", "USE_CUDA", "DATASET.ROOT", "DATASET.NUM_SHOTS",
    "DATALOADER.NUM_WORKERS", "TRAIN.PRINT_FREQ", "TRAIN.CHECKPOINT_FREQ", "FEATURES.ROOT",
    "FEATURES.CACHE", "FEATURES.KEY", "FEATURES.BATCH_SIZE", "FEATURES.COMPILE",
}  # fmt: skip


def versions(**others: str) -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version(), **others}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def run_settings(cfg: CfgNode) -> dict[str, Any]:
    """Return what decides the result of a run: no folders, no other trainers' keys."""
    own = f"TRAINER.{cfg.TRAINER.NAME.upper()}."
    return {
        key: value
        for key, value in flatten(cfg).items()
        if key not in WHEREABOUTS
        and (not key.startswith("TRAINER.") or key.startswith((own, "TRAINER.NAME")))
    }


def config_digest(cfg: CfgNode) -> str:
    """Return the digest of :func:`run_settings`; seeds and shots of one experiment share it."""
    text = json.dumps(run_settings(cfg), sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()


def peak_memory_mib(device: torch.device) -> float:
    """Return the highest memory in MiB: of the CUDA device, or resident of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
