"""The folder of a run: its default name, its lock, and the result that it may hold already."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vtclip.errors import UserError
from vtclip.protocol import differing_keys
from vtclip.results import RESULT_FILE, Result, read_result
from vtclip.tracking import CSV_FILE

LOCK = ".run.lock"
# what a run writes before it has any weights or scores
PREPARATION = (LOCK, "config.yaml", "few_shot_list.json", "log.txt", "tensorboard", CSV_FILE)
# temporary files of `vtclip.files.atomic_path`; those of earlier versions had no own ending
UNFINISHED_NAME = re.compile(
    r"\..+\.[a-z0-9_]{8}\.tmp"
    r"|\.(result\.json|few_shot_list\.json|config\.yaml|checkpoint|model-best(\.pth\.tar)?"
    r"|model\.pth\.tar-[0-9]+|unfinished\.pth\.tar)\..+"
)
# above this, what differs is named by a digest, for folder names end at 255 bytes
LONGEST_SUFFIX = 80
# named elsewhere in the path
IN_THE_PATH = {"MODEL.BACKBONE.NAME", "DATASET.NAME", "DATASET.FEATURE_BANK", "TRAINER.NAME"}


def experiment_folder(
    dataset: str,
    method: str,
    backbone: str,
    shots: int,
    departures: Mapping[str, Any],
    recipe: str = "",
) -> Path:
    """Return where the seeds of an experiment lie, relative to the output folder.

    A run that departs from the protocol says how in the name of its folder, so that it never
    stands in for the protocol's.

    Args:
        dataset: label of the dataset.
        method: TRAINER.NAME.
        backbone: label of the backbone.
        shots: images per class; -1 for all.
        departures: values that differ from the recipe's, by key.
        recipe: name of a recipe in the place of the protocol, "" for the protocol.

    >>> experiment_folder("dtd", "VTCLIP", "rn50", 4, {"OPTIM.MAX_EPOCH": 9}).as_posix()
    'dtd/VTCLIP/rn50_4shots_OPTIM.MAX_EPOCH=9'
    >>> experiment_folder("dtd", "CLIPAdapter", "rn50", 4, {}, "tuned").as_posix()
    'dtd/CLIPAdapter/rn50_4shots_tuned'
    """
    changed = {key: value for key, value in departures.items() if key not in IN_THE_PATH}
    suffix = "".join(f"_{key}={_word(value)}" for key, value in sorted(changed.items()))
    if len(suffix) > LONGEST_SUFFIX or not re.fullmatch(r"[\w.=,@+-]*", suffix):
        suffix = f"_changed-{short_digest(repr(sorted(changed.items())))}"
    named = f"_{recipe}" if recipe else ""
    return Path(dataset, method, f"{backbone}_{shots}shots{named}{suffix}")


def own_data_label(config_name: str, path: Path) -> str:
    """Return the label of data that a user brings: two folders of photos are two datasets."""
    name = re.sub(r"[^\w.-]", "_", path.stem) or "data"
    return f"{config_name}-{name}-{short_digest(str(path.absolute()))}"


def short_digest(text: str) -> str:
    """Return 8 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


class FolderInUse(UserError):
    """Another process is at work in the folder of a run."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of a folder while the block runs; a kill frees it.

    What a killed process left half-written there is removed.

    Raises:
        FolderInUse: another process is at work there.
        UserError: the folder cannot be written.
    """
    # one lock per folder and process: the command line takes it before the trainer does
    lock = FileLock(folder / LOCK, timeout=0, is_singleton=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        _remove_unfinished_files(folder)
    except Timeout:
        raise FolderInUse(
            f"{folder}: another process runs here; wait for it, or name another --output-dir."
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Lock a folder for a run; where the run is refused, leave no trace of it.

    A run that has saved weights or scores before its error is not refused but broken, and keeps
    what it wrote.

    Raises:
        UserError: as :func:`locked`.
    """
    made = [path for path in (folder, *folder.parents) if not os.access(path, os.F_OK)]
    had_lock = os.access(folder / LOCK, os.F_OK)
    try:
        with locked(folder):
            before = _times(folder)
            if not had_lock:
                del before[folder / LOCK]
            try:
                yield
            except UserError:
                _undo(folder, before)
                raise
    except UserError:
        for path in made:
            # not those that another run has come to use
            with suppress(OSError):
                path.rmdir()
        raise


def _times(folder: Path) -> dict[Path, int]:
    """Return when each file below a folder was written, in nanoseconds; of folders 0."""
    paths = list(folder.rglob("*"))
    return {path: 0 if path.is_dir() else path.lstat().st_mtime_ns for path in paths}


def _undo(folder: Path, before: Mapping[Path, int]) -> None:
    """Remove what is new in a folder, unless weights or scores are among it."""
    after = _times(folder)
    changed = [path for path, when in after.items() if before.get(path) != when]
    if any(
        not path.relative_to(folder).parts[0].startswith(PREPARATION)
        for path in changed
        if not path.is_dir()
    ):
        return
    # what is in a folder before the folder
    for path in sorted(set(after) - set(before), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


def _remove_unfinished_files(folder: Path) -> None:
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    # those with a lock are runs of their own
    for place in (folder, *(path for path in folders if not (path / LOCK).exists())):
        for path in place.glob(".*"):
            if UNFINISHED_NAME.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)


def finished_result(folder: Path, identity: Mapping[str, Any]) -> Result | None:
    """Return the result of the same run that a folder holds, None where it holds none.

    Args:
        folder: where the run would write.
        identity: what the run is made of, by name (see :func:`run_identity`).

    Raises:
        UserError: the folder holds the result of another run; names the keys that differ.
    """
    path = folder / RESULT_FILE
    if not path.exists():
        return None
    result = read_result(path)
    keys = differing_keys(dict(identity), identity_of(result))
    if keys:
        raise UserError(
            f"{path}: the result of another run, which is kept; it differs in "
            f"{', '.join(keys[:6])}{' and more' if len(keys) > 6 else ''}. Name another "
            "--output-dir, or move that folder away."
        )
    return result


def run_identity(
    *,
    settings: Mapping[str, Any],
    seed: int,
    shots: int,
    dataset_root: str,
    list_digest: Mapping[str, str],
    fingerprint: str,
    evaluated: str,
) -> dict[str, Any]:
    """Return what tells one run from another, by configuration key or in words.

    The arguments are the fields of :class:`vtclip.results.Result`.
    """
    return {
        **settings,
        "SEED": seed,
        "DATASET.NUM_SHOTS": shots,
        "DATASET.ROOT": dataset_root,
        "few-shot train list": list_digest.get("train", ""),
        "few-shot val list": list_digest.get("val", ""),
        "weights of the backbone": fingerprint,
        "evaluated run": evaluated,
    }


def identity_of(result: Result) -> dict[str, Any]:
    """Return the :func:`run_identity` of a finished run."""
    return run_identity(
        settings=result.settings,
        seed=result.seed,
        shots=result.shots,
        dataset_root=result.dataset_root,
        list_digest=result.list_digest,
        fingerprint=result.backbone_fingerprint,
        evaluated=result.evaluated,
    )


def _word(value: Any) -> str:
    """Return a value as it may stand in a folder's name."""
    if isinstance(value, list | tuple):
        return ",".join(_word(item) for item in value)
    return str(value)
