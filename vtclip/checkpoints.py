"""Checkpoints of the trained module: tensors and plain values, nothing that executes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vtclip.errors import UserError
from vtclip.files import atomic_path, write_text
from vtclip.torch_files import UnreadableFile, load_on_cpu

BEST = "model-best.pth.tar"
LATEST = "checkpoint"
UNFINISHED = "unfinished.pth.tar"


def name_of(epoch: int) -> str:
    """Return the file name of the checkpoint after `epoch` epochs."""
    return f"model.pth.tar-{epoch}"


def save(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, atomically."""
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def save_latest(content: dict[str, Any], folder: Path, epoch: int) -> None:
    """Write the checkpoint of an epoch and name it in the file `checkpoint`."""
    save(content, folder / name_of(epoch))
    write_text(folder / LATEST, name_of(epoch) + "\n")


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: it is missing, truncated, or holds more than tensors and plain values.
    """
    try:
        content = load_on_cpu(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint.") from None
    except UnreadableFile as error:
        raise UserError(
            f"{path}: not a checkpoint of this project, or truncated; train the seed again."
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise UserError(f"{path}: not a checkpoint (lacks state_dict).")
    return content


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
    latest = folder / (folder / LATEST).read_text(encoding="utf-8").strip()
    if best.is_file():
        settings = load(latest).get("settings", {})
        selects = settings.get("TEST.FINAL_MODEL") == repr("best_val")
        if selects and load(best).get("settings") == settings:
            return best
    return latest


def clear(folder: Path, settings: dict[str, str]) -> None:
    """Remove the checkpoints of an earlier attempt at a run that starts anew.

    Args:
        folder: of the trained module.
        settings: of the run.

    Raises:
        UserError: a checkpoint there is of a run with other settings.
    """
    old = sorted({*folder.glob("model.pth.tar-*"), *folder.glob(BEST)})
    for path in old:
        check_origin(path, {"origin": load(path).get("settings", {})}, settings)
    for path in [*old, folder / LATEST, *folder.glob(".model*"), *folder.glob(f".{UNFINISHED}.*")]:
        path.unlink(missing_ok=True)


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
        found = content.get("origin", {}).get(name)
        if found != expected:
            raise UserError(
                f"{path}: of another {name}: {_short(found)} in the checkpoint, "
                f"{_short(expected)} in this run; name another --output-dir."
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
