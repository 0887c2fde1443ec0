"""Arrays and texts of .npz and .safetensors files; headers are checked before arrays are made.

A file of a few kilobytes can claim an array of terabytes, or unpack to gigabytes of zeros.
"""

from __future__ import annotations

import json
import lzma
import math
import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from vtclip.errors import UserError, reason_of

TEXTS = ("classnames", "backbone", "template")
# features of floating point hardly shrink when they are compressed; zeros shrink by 1,000
LARGEST_RATIO = 100
SPARE_BYTES = 64 << 20

Contents = tuple[dict[str, NDArray[Any]], dict[str, Any]]

# what the readers raise on files that are damaged
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def read_arrays(path: Path) -> Contents:
    """Return the arrays by name, and the texts (`classnames`, `backbone`, `template`) that exist.

    Raises:
        UserError: the file is missing, damaged or larger than the memory.
    """
    read = {".npz": _read_npz, ".safetensors": _read_safetensors}.get(path.suffix)
    if read is None:
        raise UserError(f"DATASET.FEATURE_BANK: {path} must end in .npz or .safetensors.")
    if not path.is_file():
        raise UserError(f"DATASET.FEATURE_BANK: {path}: no such file.")
    from safetensors import SafetensorError

    try:
        return read(path)
    except (*_DAMAGE, SafetensorError) as error:
        raise UserError(f"{path}: not a readable file of features ({reason_of(error)}).") from error


def physical_memory() -> int:
    """Return the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _require_memory(path: Path, size: int) -> None:
    memory = physical_memory()
    if size > memory:
        raise UserError(
            f"{path}: its arrays take {size:,} bytes, but the memory has {memory:,}; make a file "
            "of fewer images or of float16."
        )


def _read_npz(path: Path) -> Contents:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > LARGEST_RATIO * path.stat().st_size + SPARE_BYTES:
            raise UserError(
                f"{path}: unpacks to {size:,} bytes, more than features can; do not use this file."
            )
        _require_memory(path, size)
        arrays = {}
        for member in members:
            name, dot, _ = member.filename.rpartition(".npy")
            if not dot:
                raise UserError(f"{path}: holds {member.filename!r}, which is no array.")
            with archive.open(member) as file:
                _check_header(path, name, file, member.file_size)
            with archive.open(member) as file:
                arrays[name] = npy.read_array(file, allow_pickle=False)
    return arrays, {name: arrays.pop(name).tolist() for name in TEXTS if name in arrays}


def _check_header(path: Path, name: str, file: Any, size: int) -> None:
    """Check that the header of an array claims as many bytes as follow it."""
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(file)
    else:
        raise ValueError(f"{name} is of an unknown version of the format")
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    claimed, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if claimed != held or min(shape, default=0) < 0:
        raise UserError(
            f"{path}: the header of {name} claims {claimed:,} bytes, but there are {held:,}."
        )


def _read_safetensors(path: Path) -> Contents:
    from safetensors import safe_open

    # the library checks the header against the size of the file
    _require_memory(path, path.stat().st_size)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        texts: dict[str, Any] = dict(file.metadata() or {})
    if "classnames" in texts:
        texts["classnames"] = json.loads(texts["classnames"])
    return arrays, texts
