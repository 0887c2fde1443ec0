"""Reading a CLIP checkpoint from a file that may be many things."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import torch
from torch import Tensor

from vtclip.errors import UserError

# what OpenAI's TorchScript archives carry beside the weights
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
ALWAYS_THERE = ("text_projection", "logit_scale", "token_embedding.weight", "visual.conv1.weight")


def read_clip_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights of a CLIP, on the CPU.

    Args:
        path: a TorchScript archive (as OpenAI publishes), or a state dict saved by torch.save.

    Raises:
        UserError: the file is missing, truncated, corrupt, or no CLIP.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights.")
    state_dict = _read_archive(path)
    if state_dict is None:
        state_dict = _read_state_dict(path)
    lacking = [key for key in ALWAYS_THERE if key not in state_dict]
    if lacking:
        raise UserError(f"{path}: not the weights of a CLIP (lacks {', '.join(lacking)}).")
    return {key: value for key, value in state_dict.items() if key not in NOT_WEIGHTS}


def _read_archive(path: Path) -> dict[str, Tensor] | None:
    """Read a TorchScript archive; None where the file is something else."""
    with path.open("rb") as file, warnings.catch_warnings():
        # PyTorch announces the end of TorchScript; OpenAI's files are of that kind all the same
        warnings.simplefilter("ignore", FutureWarning)
        try:
            archive = torch.jit.load(file, map_location="cpu")
        except (RuntimeError, ValueError):
            return None
    return dict(archive.state_dict())


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        try:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{path}: neither a TorchScript archive nor a state dict, or it is truncated "
                f"({reason[:120]}); fetch it again."
            ) from error
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise UserError(f"{path}: not a state dict of tensors by name.")
    return loaded
