"""Checkpoints of the trained module: tensors and plain values, nothing that executes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vtclip.config.keys import MANY
from vtclip.errors import UserError, reason_of, shortened
from vtclip.files import set_aside, write_text
from vtclip.screen import say
from vtclip.torch_files import UnreadableFile, load_on_cpu, save_atomically

BEST = "model-best.pth.tar"
LATEST = "checkpoint"
UNFINISHED = "unfinished.pth.tar"
NUMBERED = re.compile(r"model\.pth\.tar-[0-9]{1,9}")
# at the end of the shape of a fitted tensor: whole numbers below K
LABELS = "labels"
# fields of an optimizer's state that are counts or means of squares
NOT_NEGATIVE = ("step", "exp_avg_sq", "max_exp_avg_sq", "square_avg")
STATES = {"exp_avg": {"step", "exp_avg", "exp_avg_sq"}}


class DamagedCheckpoint(UserError):
    """A checkpoint that is not what was written; nothing in it can be used."""


def name_of(epoch: int) -> str:
    """Return the file name of the checkpoint after `epoch` epochs."""
    return f"model.pth.tar-{epoch}"


def save(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, atomically."""
    save_atomically(content, path)


def save_latest(content: dict[str, Any], folder: Path, epoch: int) -> None:
    """Write the checkpoint of an epoch and name it in the file `checkpoint`."""
    save(content, folder / name_of(epoch))
    write_text(folder / LATEST, name_of(epoch) + "\n")


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU and check every field that all checkpoints have.

    Raises:
        DamagedCheckpoint: it is truncated, or holds more than tensors and plain values; or a field
            is missing or impossible, such as weights that are not finite.
        UserError: it is missing, or the system refuses to read it.
    """
    try:
        content = load_on_cpu(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint.") from None
    except PermissionError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnreadableFile as error:
        raise DamagedCheckpoint(
            f"{path}: not a checkpoint of this project, or truncated ({reason_of(error)}); train "
            "the seed again."
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise DamagedCheckpoint(f"{path}: not a checkpoint (lacks state_dict).")
    if problem := _problem(content):
        raise _damaged(path, problem)
    return content


def _damaged(path: Path, problem: str) -> DamagedCheckpoint:
    return DamagedCheckpoint(f"{path}: a damaged checkpoint ({problem}); train the seed again.")


def _problem(content: dict[Any, Any]) -> str:
    """Return what is wrong with the fields that all checkpoints have, "" if nothing is."""
    state_dict = content["state_dict"]
    if not _is_mapping_of(state_dict, Tensor):
        return "state_dict does not hold tensors by name"
    for name, tensor in state_dict.items():
        if problem := _problem_of_tensor(tensor):
            return f"state_dict.{shortened(name)} {problem}"
    epoch = content.get("epoch")
    if type(epoch) is not int or not 0 <= epoch <= MANY:
        return "epoch is no number of epochs"
    score = content.get("val_result")
    if score is not None and not (type(score) is float and 0 <= score <= 100):
        return "val_result is no percentage"
    for field in ("settings", "origin"):
        if not _is_mapping_of(content.get(field), str):
            return f"{field} does not hold texts by name"
    return ""


def _is_mapping_of(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(item, kind) for name, item in value.items()
    )


def _problem_of_tensor(tensor: Tensor) -> str:
    """Return why a tensor cannot be computed with, "" if it can."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return "is not a plain tensor"
    # a stride of 0 makes as many elements as one likes of a single one
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "claims more elements than it holds"
    return "" if tensor.isfinite().all() else "is not finite"


def load_into(module: nn.Module, content: dict[str, Any], path: Path, owner: str) -> None:
    """Put the tensors of a checkpoint into a module, which stays as it was if one does not fit.

    Args:
        module: has the names, shapes and types that are to be found.
        content: of :func:`load`.
        path: where it was read.
        owner: what the module belongs to, for messages.

    Raises:
        UserError: a tensor is missing, not known, or of another shape or type.
    """
    own, found = module.state_dict(), content["state_dict"]
    problem = ""
    for name in sorted(own.keys() | found.keys()):
        if name not in found or name not in own:
            problem = f"{'lacks' if name in own else 'has also'} {shortened(name)}"
        elif problem := difference(found[name], own[name]):
            problem = f"{name} {problem}"
        if problem:
            raise UserError(f"{path}: does not fit {owner} of this run ({problem}).")
    module.load_state_dict(found)


def difference(found: Tensor, own: Tensor) -> str:
    """Return in words how a tensor differs from another in shape or type, "" if it does not."""
    if found.shape != own.shape:
        return f"is of shape {tuple(found.shape)}, not {tuple(own.shape)}"
    return "" if found.dtype == own.dtype else f"is {found.dtype}, not {own.dtype}"


def check_fitted(
    path: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, str], sizes: Mapping[str, int]
) -> None:
    """Refuse fitted tensors that the scores of a method cannot be computed from.

    Args:
        path: where they were read.
        tensors: by name.
        shapes: by name, see :attr:`vtclip.method.MethodFacts.FITTED`.
        sizes: what letters of `shapes` stand for; a letter that is not there stands for one
            number, whatever it is, in all tensors.

    Raises:
        UserError: a tensor is missing or not known, or of another shape or type.

    >>> check_fitted(Path("x"), {"bias": torch.zeros(3)}, {"bias": "K"}, {"K": 2})
    Traceback (most recent call last):
    ...
    vtclip.errors.UserError: x: does not fit this run (bias is of shape (3,), not K = 2).
    """
    if not shapes:
        return
    if tensors.keys() != shapes.keys():
        raise UserError(
            f"{path}: does not fit this run (it holds {shortened(', '.join(sorted(tensors)))}, not "
            f"{', '.join(sorted(shapes))})."
        )
    known = dict(sizes)
    for name, shape in shapes.items():
        letters, _, kind = shape.partition(":")
        tensor, dtype = tensors[name], kind or "float32"
        expected = [known.setdefault(*pair) for pair in zip(letters, tensor.shape, strict=False)]
        if list(tensor.shape) != expected or tensor.ndim != len(letters) or not tensor.numel():
            wanted = " x ".join(f"{letter} = {known.get(letter, 1)}" for letter in letters)
            problem = f"is of shape {tuple(tensor.shape)}, not {wanted}"
        elif kind == LABELS:
            whole = tensor.dtype == torch.int64
            inside = whole and tensor.min() >= 0 and tensor.max() < sizes["K"]
            problem = "" if inside else "does not hold labels of its classes"
        else:
            same = tensor.dtype == getattr(torch, dtype)
            problem = "" if same else f"is {tensor.dtype}, not {dtype}"
        if problem:
            raise UserError(f"{path}: does not fit this run ({name} {problem}).")


def check_unfinished(
    path: Path, content: dict[str, Any], optimizer: torch.optim.Optimizer, epochs: int
) -> None:
    """Refuse an unfinished checkpoint that a run cannot go on from.

    Args:
        path: where `content` was read.
        content: of :func:`load`.
        optimizer: of the run, on the parameters that the checkpoint is of.
        epochs: of the whole run.

    Raises:
        DamagedCheckpoint: names the field.
    """
    best, scheduler = content.get("best_result"), content.get("scheduler")
    problem = ""
    if not 0 < content["epoch"] < epochs:
        problem = f"epoch is {content['epoch']} of {epochs}"
    elif type(best) is not float or not (best == -math.inf or 0 <= best <= 100):
        problem = "best_result is no percentage"
    elif not isinstance(scheduler, dict) or not _is_count(scheduler.get("last_epoch")):
        problem = "scheduler.last_epoch is no number of steps"
    else:
        problem = _problem_of_optimizer(content.get("optimizer"), optimizer)
    if problem:
        raise _damaged(path, problem)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MANY**2


def _problem_of_optimizer(saved: Any, optimizer: torch.optim.Optimizer) -> str:
    """Return why an optimizer cannot go on from a saved state, "" if it can."""
    own = optimizer.state_dict()["param_groups"]
    groups = saved.get("param_groups") if isinstance(saved, dict) else None
    states = saved.get("state") if isinstance(saved, dict) else None
    if not isinstance(groups, list) or not isinstance(states, dict) or len(groups) != len(own):
        return "optimizer has no state, or other groups of parameters"
    for group, expected in zip(groups, own, strict=True):
        if not isinstance(group, dict) or group.keys() != expected.keys():
            return "optimizer.param_groups has other fields"
        for name, value in expected.items():
            rate = group[name]
            if name == "lr":
                # the schedule sets it anew; of all else the configuration decides
                if type(rate) is not float or not 0 <= rate < math.inf:
                    return "optimizer.param_groups has no learning rate"
            elif type(rate) is not type(value) or rate != value:
                return f"optimizer.param_groups has another {name}"
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, state in states.items():
        if type(index) is not int or not 0 <= index < len(parameters):
            return "optimizer.state is of other parameters"
        if problem := _problem_of_state(state, parameters[index]):
            return f"optimizer.state.{index} {problem}"
    return ""


def _problem_of_state(state: Any, parameter: Tensor) -> str:
    if not isinstance(state, dict) or not state:
        return "is empty"
    for name, value in state.items():
        if value is None and name == "momentum_buffer":
            continue
        if not isinstance(name, str) or not isinstance(value, Tensor):
            return "does not hold tensors by name"
        own = torch.zeros(()) if name == "step" else parameter.detach()
        problem = _problem_of_tensor(value) or difference(value, own)
        if not problem and name in NOT_NEGATIVE and (value < 0).any():
            problem = "is negative"
        if problem:
            return f"{shortened(name)} {problem}"
    lacking = STATES.get("exp_avg" if "exp_avg" in state else "", set()) - state.keys()
    return f"lacks {min(lacking)}" if lacking else ""


def find(folder: Path, epoch: int | None) -> Path:
    """Return the checkpoint to evaluate: that epoch's, else what the run was tested with.

    The best epoch on validation counts only where the run that wrote the latest checkpoint
    selected by it; what an earlier run left behind does not.

    Raises:
        UserError: `folder` holds none of them.
    """
    if epoch is not None:
        return folder / name_of(epoch)
    best = folder / BEST
    if not (folder / LATEST).is_file():
        if best.is_file():
            return best
        raise UserError(f"{folder}: no checkpoint (neither {BEST} nor {LATEST}); train first.")
    latest = folder / _name_of_latest(folder / LATEST)
    if best.is_file():
        settings = load(latest)["settings"]
        selects = settings.get("TEST.FINAL_MODEL") == repr("best_val")
        if selects and load(best)["settings"] == settings:
            return best
    return latest


def _name_of_latest(path: Path) -> str:
    """Return the name of the latest checkpoint, which is one beside the file that says so."""
    try:
        name = path.read_bytes()[:200].decode("ascii", errors="replace").strip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    if not NUMBERED.fullmatch(name):
        raise UserError(
            f"{path}: names no checkpoint ({shortened(name)!r}); --load-epoch names one."
        )
    return name


def earlier_attempt(folder: Path, settings: dict[str, str]) -> dict[Path, int]:
    """Return the checkpoints of an earlier attempt at a run that starts anew.

    They are good until the run has better ones, so they stay until it has finished (see
    :func:`remove_unchanged`).

    A damaged one is set aside, since nobody can tell of which run it is.

    Args:
        folder: of the trained module.
        settings: of the run.

    Returns:
        When each was written, in nanoseconds.

    Raises:
        UserError: a checkpoint there is of a run with other settings.
    """
    found = sorted(folder.glob("model*"))
    old = [path for path in found if path.name == BEST or NUMBERED.fullmatch(path.name)]
    for path in old:
        try:
            check_origin(path, {"origin": load(path)["settings"]}, settings)
        except DamagedCheckpoint as error:
            put_aside(path, error)
    return {path: path.stat().st_mtime_ns for path in old if path.is_file()}


def remove_unchanged(written: Mapping[Path, int]) -> None:
    """Remove the files that are still those that were written at the given times."""
    for path, when in written.items():
        if path.is_file() and path.stat().st_mtime_ns == when:
            path.unlink()


def put_aside(path: Path, error: DamagedCheckpoint) -> None:
    """Rename a damaged checkpoint, and print a line that says so.

    Raises:
        UserError: it cannot be renamed.
    """
    try:
        aside = set_aside(path)
    except OSError as problem:
        raise UserError(f"{path}: damaged, and cannot be renamed ({problem.strerror}).") from error
    reason = str(error).removeprefix(f"{path}: ").removesuffix("; train the seed again.")
    say(f"{path}: {reason}; set aside as {aside.name}, and the run begins anew.")


def check_origin(path: Path, content: dict[str, Any], origin: dict[str, Any]) -> None:
    """Refuse a checkpoint that was trained for something else.

    Args:
        path: where `content` was read.
        content: the checkpoint; its "origin" is compared.
        origin: what the present run is made of, by name (trainer, backbone, classes ...).

    Raises:
        UserError: a value differs.
    """
    for name, expected in origin.items():
        found = content["origin"].get(name)
        if found != expected:
            raise UserError(
                f"{path}: of another {name}: {shortened(str(found), 60)} in the checkpoint, "
                f"{shortened(str(expected), 60)} in this run; name another --output-dir."
            )
