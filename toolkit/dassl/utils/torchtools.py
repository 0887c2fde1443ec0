"""Seeds, versions and sizes: the helpers that need torch."""

import platform
import random
from collections.abc import Iterable
from importlib.metadata import version

import numpy as np
import torch
from torch import nn


def set_random_seed(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators (torch's on every device).

    Args:
        seed: 0 to 2**32 - 1, the range that numpy accepts.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def collect_env_info() -> str:
    """Return the versions that results depend on and the device, a line each."""
    if torch.cuda.is_available():
        device = f"{torch.cuda.get_device_name()} (CUDA {torch.version.cuda})"
    else:
        device = f"CPU ({torch.get_num_threads()} threads)"
    return "\n".join(
        [
            f"python: {platform.python_version()} on {platform.system()} {platform.machine()}",
            f"torch: {torch.__version__}",
            f"torchvision: {version('torchvision')}",
            f"numpy: {np.__version__}",
            f"device: {device}",
        ]
    )


def count_num_param(
    model: nn.Module | None = None, params: Iterable[torch.Tensor] | None = None
) -> int:
    """Return the number of numbers in a model's parameters, or in those given.

    Raises:
        ValueError: neither or both are given.
    """
    if (model is None) == (params is None):
        raise ValueError("give either a model or parameters")
    tensors = model.parameters() if model is not None else params
    return sum(tensor.numel() for tensor in tensors or ())
