"""Files of precomputed features, .npz or .safetensors."""

from __future__ import annotations

import math
import re
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtclip.errors import UserError
from vtclip.files import sha256_of_file
from vtclip.image_features import LARGEST_VALUE
from vtclip.screen import say

from .bank_arrays import read_arrays
from .listing import is_utf8

DEFAULT_LOGIT_SCALE = 100.0
# below it a stored scale is likely to be the logarithm that CLIP's weights hold
LIKELY_LOGARITHM = 10.0
SMALLEST_SCALE = 1e-30
PART_ARRAYS = re.compile(r"(.+)_(?:x|y|spatial)")
SHOT_ARRAYS = re.compile(r"shot([1-9][0-9]{0,8})_x")


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


def read_bank(path: Path) -> BankFile:
    """Read and check a file of features; never unpickles anything.

    An .npz holds `classnames` as an array of text, and may hold `backbone` and `template` so; a
    .safetensors file holds them in its metadata, `classnames` as a JSON list.

    Raises:
        UserError: the file is missing, damaged, too large or lacks an array, or an array has the
            wrong type, shape or values.
    """
    arrays, texts = read_arrays(path)
    for name in ("text", "test_x"):
        if name not in arrays:
            raise UserError(f"{path}: lacks the array {name!r}.")
    text, classnames = arrays.pop("text"), texts.get("classnames")
    if text.ndim != 2 or not isinstance(classnames, list) or len(classnames) != len(text):
        raise UserError(f"{path}: needs one entry of classnames for each row of text [K, D].")
    for name in (*classnames, *(texts.get(key, "") for key in ("backbone", "template"))):
        if not isinstance(name, str) or not is_utf8(name):
            raise UserError(
                f"{path}: classnames, backbone and template must be text, but hold "
                f"{reprlib.repr(name)}."
            )
    _check_values(path, "text", text)
    scale = _logit_scale(path, arrays.pop("logit_scale", None))
    for name in sorted({m[1] for m in map(PART_ARRAYS.fullmatch, arrays) if m}):
        _check_part(path, name, arrays, text)
    tokens = {array.shape[1:] for name, array in arrays.items() if name.endswith("_spatial")}
    if len(tokens) > 1:
        raise UserError(f"{path}: the spatial features have several shapes [S, C]: {tokens}.")
    try:
        fingerprint = sha256_of_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    return BankFile(
        path=path,
        arrays=arrays,
        classnames=classnames,
        text=text.astype(np.float32),
        logit_scale=scale,
        backbone=texts.get("backbone", path.stem),
        # what cannot be known is the bare class name
        template=texts.get("template", "{}"),
        fingerprint=fingerprint,
    )


def _check_values(path: Path, name: str, array: NDArray[Any]) -> None:
    """Check that an array holds numbers that can be squared in float32."""
    if array.dtype.kind not in "fiu":
        raise UserError(f"{path}: {name} must hold numbers, but holds {array.dtype.name}.")
    if not array.size:
        return
    # no array of this size is made, since spatial features may fill half of the memory
    lowest, highest = float(array.min()), float(array.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise UserError(f"{path}: {name} has values that are not finite.")
    if lowest < -LARGEST_VALUE or highest > LARGEST_VALUE:
        raise UserError(
            f"{path}: {name} has values beyond {LARGEST_VALUE:.0e}, whose squares overflow."
        )


def _check_part(path: Path, name: str, arrays: dict[str, NDArray[Any]], text: NDArray[Any]) -> None:
    features, labels = arrays.get(f"{name}_x"), arrays.get(f"{name}_y")
    classes, width = text.shape
    if features is None:
        raise UserError(f"{path}: has other arrays of {name} but lacks {name}_x.")
    if features.ndim != 2 or features.shape[1] != width:
        raise UserError(f"{path}: {name}_x has shape {features.shape}, not [N, {width}].")
    if labels is None or labels.shape != features.shape[:1] or labels.dtype.kind not in "iu":
        raise UserError(f"{path}: {name}_y must hold {len(features)} whole numbers.")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"{path}: {name}_y has labels outside 0 to {classes - 1}.")
    _check_values(path, f"{name}_x", features)
    spatial = arrays.get(f"{name}_spatial")
    if spatial is None:
        return
    if spatial.ndim != 3 or len(spatial) != len(features) or 0 in spatial.shape[1:]:
        raise UserError(f"{path}: {name}_spatial must have shape [{len(features)}, S, C].")
    _check_values(path, f"{name}_spatial", spatial)


def _logit_scale(path: Path, stored: NDArray[Any] | None) -> float:
    if stored is None:
        return DEFAULT_LOGIT_SCALE
    if stored.size != 1 or stored.dtype.kind not in "fiu":
        raise UserError(f"{path}: logit_scale must be one number.")
    scale = float(stored.reshape(-1)[0])
    # False for NaN, and for what is 0 as a float32
    if not SMALLEST_SCALE < scale <= LARGEST_VALUE:
        raise UserError(
            f"{path}: logit_scale is {scale}; it must be finite and above 0 (CLIP's is 100)."
        )
    if scale < LIKELY_LOGARITHM:
        say(
            f"{path}: logit_scale is {scale:g}, which may be a logarithm (CLIP's is 100, whose "
            "logarithm is 4.605); if it is one, store its exponential."
        )
    return scale
