"""Reading a CLIP checkpoint from a file that may be many things.

No format is read in a way that runs code of the file; see SECURITY.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from vtclip.backbones.torchscript_archive import (
    check_zip,
    is_torchscript,
    is_zip,
    read_torchscript,
)
from vtclip.errors import UserError, reason_of
from vtclip.screen import say
from vtclip.torch_files import UnreadableFile, load_on_cpu, unpacked_limit

# what OpenAI's TorchScript archives carry beside the weights
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
ALWAYS_THERE = ("text_projection", "logit_scale", "token_embedding.weight", "visual.conv1.weight")
# where training scripts put the weights, and what DistributedDataParallel puts before names
ENTRY = "state_dict"
PREFIX = "module."


def read_clip_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights of a CLIP in OpenAI's layout, on the CPU; see :func:`read_weights`.

    Raises:
        UserError: the file is missing, truncated, corrupt, hostile, or no CLIP.
    """
    state_dict = read_weights(path)
    lacking = [key for key in ALWAYS_THERE if key not in state_dict]
    if lacking:
        raise UserError(f"{path}: not the weights of a CLIP (lacks {', '.join(lacking)}).")
    return state_dict


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of any model, on the CPU.

    Weights in an entry `state_dict`, or with `module.` before each name, are taken out of it; a
    printed line tells so.

    Args:
        path: a TorchScript archive (as OpenAI publishes), a state dict saved by torch.save, or a
            safetensors file.

    Raises:
        UserError: the file is missing, truncated, corrupt or hostile.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights.")
    try:
        loaded = _read(path)
    except PermissionError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    state_dict = _unwrap(path, loaded)
    _check_size(path, state_dict)
    return {key: value for key, value in state_dict.items() if key not in NOT_WEIGHTS}


def may_be_openais(path: Path) -> bool:
    """Tell whether a file is a TorchScript archive, the format of OpenAI's."""
    return is_zip(path) and is_torchscript(check_zip(path))


def _read(path: Path) -> Any:
    if is_zip(path):
        if is_torchscript(check_zip(path)):
            return read_torchscript(path)
    elif path.suffix == ".safetensors" or _starts_as_safetensors(path):
        return _read_safetensors(path)
    try:
        return load_on_cpu(path)
    except UnreadableFile as error:
        raise UserError(
            f"{path}: neither a TorchScript archive, a safetensors file nor a state dict, or it is "
            f"truncated ({reason_of(error)}); fetch it again."
        ) from error


def _starts_as_safetensors(path: Path) -> bool:
    """Tell by the start: the length of a JSON header in 8 bytes, and the header's brace."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and length < path.stat().st_size


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path, device="cpu")
    except (SafetensorError, RuntimeError, ValueError, LookupError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: not a safetensors file, or it is truncated ({reason[:120]}); fetch it again."
        ) from error


def _unwrap(path: Path, loaded: Any) -> dict[str, Tensor]:
    """Return the tensors by name, out of the forms that training scripts save."""
    steps = []
    if isinstance(loaded, dict) and isinstance(loaded.get(ENTRY), dict):
        loaded = loaded[ENTRY]
        steps.append(f"from its entry {ENTRY!r}")
    if (
        not isinstance(loaded, dict)
        or not loaded
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items())
    ):
        raise UserError(f"{path}: not a state dict of tensors by name.")
    if all(key.startswith(PREFIX) for key in loaded):
        loaded = {key.removeprefix(PREFIX): value for key, value in loaded.items()}
        steps.append(f"without the prefix {PREFIX!r}")
    if steps:
        say(f"{path}: weights taken {' and '.join(steps)}.")
    return loaded


def _check_size(path: Path, state_dict: dict[str, Tensor]) -> None:
    """Refuse views that repeat their elements so often that a copy would fill the memory."""
    total = sum(tensor.numel() * tensor.dtype.itemsize for tensor in state_dict.values())
    if total > unpacked_limit(path):
        raise UserError(
            f"{path}: holds tensors of {total:,} bytes, far more than its own size; not used."
        )
