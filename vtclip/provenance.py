"""Where a result came from: versions, memory, and a digest of the settings."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "pillow", "clip-anytorch")


def versions(**others: str) -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version(), **others, **imported_clip()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def imported_clip() -> dict[str, str]:
    """Return where the module `clip` was imported from, and a digest of its code, under "clip".

    A fork of CoOp has a copy of its own, which comes before the installed package.
    """
    file = getattr(sys.modules.get("clip"), "__file__", None)
    if not file:
        return {}
    folder = Path(file).parent
    code = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        code.update(path.read_bytes())
    return {"clip": f"{folder} (code {code.hexdigest()[:12]})"}


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the settings of a run (:func:`vtclip.protocol.run_settings`)."""
    text = json.dumps(settings, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()


def peak_memory_mib(device: torch.device) -> float:
    """Return the highest memory in MiB: of the CUDA device, or resident of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
