"""Files of precomputed features, .npz or .safetensors."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtclip.errors import UserError
from vtclip.files import sha256_of_file

DEFAULT_LOGIT_SCALE = 100.0
SHOT_ARRAYS = re.compile(r"shot(\d+)_x")


@dataclass(frozen=True)
class BankFile:
    """What a feature file holds.

    Attributes:
        path: the file.
        arrays: features and labels by name, N images each: `NAME_x` [N, D], `NAME_y` [N] and
            where there are `NAME_spatial` [N, S, C], for the names train, val, test, shotK.
        classnames: K of them.
        text: text features [K, D], float32.
        logit_scale: what cosine similarities are multiplied by.
        backbone: the name of what made the features.
        template: the prompt template of the text features.
        fingerprint: SHA-256 of the file.
    """

    path: Path
    arrays: dict[str, NDArray[Any]]
    classnames: list[str]
    text: NDArray[np.float32]
    logit_scale: float
    backbone: str
    template: str
    fingerprint: str

    @property
    def shots(self) -> list[int]:
        """The numbers of shots of which there are ready lists, sorted."""
        return sorted(int(m[1]) for m in map(SHOT_ARRAYS.fullmatch, self.arrays) if m)


def _read_npz(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    texts = {
        name: arrays.pop(name).tolist()
        for name in ("classnames", "backbone", "template")
        if name in arrays
    }
    return arrays, texts


def _read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        texts: dict[str, Any] = dict(file.metadata() or {})
    if "classnames" in texts:
        texts["classnames"] = json.loads(texts["classnames"])
    return arrays, texts


def _check_part(path: Path, name: str, arrays: dict[str, NDArray[Any]], text: NDArray[Any]) -> None:
    features, labels = arrays[f"{name}_x"], arrays.get(f"{name}_y")
    classes, width = text.shape
    if features.ndim != 2 or features.shape[1] != width:
        raise UserError(f"{path}: {name}_x has shape {features.shape}, not [N, {width}].")
    if labels is None or labels.shape != features.shape[:1] or labels.dtype.kind not in "iu":
        raise UserError(f"{path}: {name}_y must hold {len(features)} whole numbers.")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"{path}: {name}_y has labels outside 0 to {classes - 1}.")
    if not np.isfinite(features).all():
        raise UserError(f"{path}: {name}_x has values that are not finite.")
    spatial = arrays.get(f"{name}_spatial")
    if spatial is not None and (spatial.ndim != 3 or len(spatial) != len(features)):
        raise UserError(f"{path}: {name}_spatial must have shape [{len(features)}, S, C].")


def read_bank(path: Path) -> BankFile:
    """Read and check a file of features; never unpickles anything.

    An .npz holds `classnames` as an array of text, and may hold `backbone` and `template` so; a
    .safetensors file holds them in its metadata, `classnames` as a JSON list.

    Raises:
        UserError: the file is missing, spoilt, lacks an array, or shapes disagree.
    """
    read = {".npz": _read_npz, ".safetensors": _read_safetensors}.get(path.suffix)
    if read is None:
        raise UserError(f"DATASET.FEATURE_BANK: {path} must end in .npz or .safetensors.")
    if not path.is_file():
        raise UserError(f"DATASET.FEATURE_BANK: {path}: no such file.")
    from safetensors import SafetensorError

    try:
        arrays, texts = read(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, SafetensorError) as error:
        raise UserError(f"{path}: not a readable file of features ({error}).") from error
    for name in ("text", "test_x"):
        if name not in arrays:
            raise UserError(f"{path}: lacks the array {name!r}.")
    text, classnames = arrays.pop("text"), texts.get("classnames")
    if text.ndim != 2 or not isinstance(classnames, list) or len(classnames) != len(text):
        raise UserError(f"{path}: needs one entry of classnames for each row of text [K, D].")
    if not np.isfinite(text).all():
        raise UserError(f"{path}: text has values that are not finite.")
    for name in [array[:-2] for array in arrays if array.endswith("_x")]:
        _check_part(path, name, arrays, text)
    scale = arrays.pop("logit_scale", np.asarray(DEFAULT_LOGIT_SCALE))
    return BankFile(
        path=path,
        arrays=arrays,
        classnames=[str(name) for name in classnames],
        text=text.astype(np.float32),
        logit_scale=float(scale.reshape(-1)[0]),
        backbone=str(texts.get("backbone", path.stem)),
        # what cannot be known is the bare class name
        template=str(texts.get("template", "{}")),
        fingerprint=sha256_of_file(path),
    )
