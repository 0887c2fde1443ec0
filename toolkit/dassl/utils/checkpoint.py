"""Checkpoints of tensors and plain values, written in one piece.

A run's folder of one model holds `model.pth.tar-EPOCH` files, `model-best.pth.tar` and a text file
`checkpoint` with the name of the latest.
"""

import io
import os
import pickle
import struct
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from dassl.utils.files import AnyPath, mkdir_if_missing

BEST = "model-best.pth.tar"
LATEST = "checkpoint"

# What torch.load raises, depending on where in the file the damage is.
_NOT_LOADABLE = (
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
)


class _Stateful(Protocol):
    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def save_checkpoint(
    state: Mapping[str, Any], save_dir: AnyPath, is_best: bool = False, model_name: str = ""
) -> None:
    """Write a checkpoint and make it the latest of its folder.

    Args:
        state: `state_dict`, `epoch` (the number of finished epochs), `optimizer`, `scheduler`,
            `val_result`.
        save_dir: folder of the model; made where it is missing.
        is_best: write `model-best.pth.tar` as well.
        model_name: file name; `model.pth.tar-EPOCH` if empty.

    Raises:
        TypeError: the state holds something that `torch.load(weights_only=True)` would refuse.
        OSError: the folder cannot be written, or the disk is full.
    """
    plain = _plain(state, "checkpoint")
    mkdir_if_missing(save_dir)
    name = model_name or f"model.pth.tar-{plain['epoch']}"
    for file_name in (name, BEST) if is_best else (name,):
        path = Path(save_dir, file_name)
        save_whole(plain, path)
        print(f'Checkpoint saved to "{path}"')
    _replace(Path(save_dir, LATEST), lambda part: part.write_text(f"{name}\n", encoding="utf-8"))


def load_checkpoint(fpath: AnyPath) -> dict[str, Any]:
    """Return the checkpoint at `fpath`, its tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, no checkpoint, or holds more than tensors and plain values.
    """
    if not Path(fpath).is_file():
        raise FileNotFoundError(f'no checkpoint at "{fpath}"')
    try:
        checkpoint = torch.load(fpath, map_location="cpu", weights_only=True)
    except _NOT_LOADABLE as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f'"{fpath}" is damaged or holds more than tensors and plain values: {reason}'
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'"{fpath}" holds a {type(checkpoint).__name__}, no checkpoint')
    return checkpoint


def resume_from_checkpoint(
    fdir: AnyPath,
    model: nn.Module,
    optimizer: _Stateful | None = None,
    scheduler: _Stateful | None = None,
) -> int:
    """Put the latest checkpoint of `fdir` into a model, its optimizer and its scheduler.

    Returns:
        The number of finished epochs, which is the index of the next one.

    Raises:
        FileNotFoundError: there is no `checkpoint` file, or not the file that it names.
        ValueError: the checkpoint lacks the state of an optimizer or scheduler given here.
    """
    latest = Path(fdir, LATEST)
    if not latest.is_file():
        raise FileNotFoundError(f'nothing to resume from: no file "{latest}"')
    path = Path(fdir, latest.read_text(encoding="utf-8").strip())
    checkpoint = load_checkpoint(path)
    model.load_state_dict(checkpoint["state_dict"])
    # The optimizer first: schedulers step from the learning rate that it holds.
    for key, part in (("optimizer", optimizer), ("scheduler", scheduler)):
        if part is None:
            continue
        if checkpoint.get(key) is None:
            raise ValueError(f'cannot resume: "{path}" has no {key} state')
        part.load_state_dict(checkpoint[key])
    epoch = int(checkpoint["epoch"])
    print(f'Resumed from "{path}" (finished epochs: {epoch})')
    return epoch


def load_pretrained_weights(model: nn.Module, weight_path: AnyPath) -> None:
    """Put those weights of a file into `model` that it has under the same name and shape.

    The file is a checkpoint or a bare state_dict; a leading `module.` of its names is ignored. What
    does not fit is left out with a warning.

    Raises:
        FileNotFoundError, ValueError: as `load_checkpoint`.
    """
    checkpoint = load_checkpoint(weight_path)
    given = {
        name.removeprefix("module."): tensor
        for name, tensor in checkpoint.get("state_dict", checkpoint).items()
    }
    own = model.state_dict()
    fitting = {
        name: tensor
        for name, tensor in given.items()
        if name in own and own[name].shape == tensor.shape
    }
    left_out = [name for name in given if name not in fitting]
    model.load_state_dict({**own, **fitting})
    if left_out:
        warnings.warn(
            f'{len(left_out)} of {len(given)} weights of "{weight_path}" do not fit the model and '
            f"are left out: {', '.join(left_out)}",
            stacklevel=2,
        )
    print(f'Loaded {len(fitting)} pretrained weights from "{weight_path}"')


def save_whole(value: Any, path: Path) -> None:
    """Write a file by torch.save: `path` holds all of it, or what it held before.

    Raises:
        OSError: it cannot be written.
    """
    # torch.save would raise a RuntimeError that does not say why
    written = io.BytesIO()
    torch.save(value, written)
    _replace(path, lambda part: part.write_bytes(written.getbuffer()))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path` and rename, so that a reader never sees half a file."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _plain(value: Any, where: str) -> Any:
    """Return `value` with numpy's scalars as Python's and every mapping as a dict."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, np.generic):  # before float: numpy.float64 is one
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    raise TypeError(
        f"{where} is a {type(value).__name__}; checkpoints hold tensors and plain values only"
    )
