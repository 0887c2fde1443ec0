"""Tensors out of TorchScript archives, as `torch.jit.load(path).state_dict()` gives them.

Loading an archive by `torch.jit` runs the code in it (`__setstate__` of its classes), which may
read and write files. Here the archive is a zip file whose pickle is read by
:mod:`vtclip.backbones.restricted_pickle` and whose code is only searched for the names of each
class's parameters and buffers. Every size is compared with the bytes that are there before memory
is taken.
"""

from __future__ import annotations

import re
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vtclip.backbones.restricted_pickle import (
    MalformedPickle,
    ObjectRecord,
    StorageRecord,
    TensorRecord,
    read_pickle,
)
from vtclip.errors import UserError, reason_of
from vtclip.torch_files import unpacked_limit

# archives of OpenAI's largest model stay below a tenth of these
MAX_PICKLE = 8 << 20
MAX_CODE = 64 << 20
MAX_NAMES = 100_000
MAX_DEPTH = 100

# what zipfile raises for damaged files
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)


class Members(NamedTuple):
    """The names that a class of the archive lists as its parameters and buffers."""

    parameters: frozenset[str]
    buffers: frozenset[str]


def is_zip(path: Path) -> bool:
    """Tell whether a file starts as a zip file does."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def check_zip(path: Path) -> list[str]:
    """Return the names of a zip file's entries.

    Raises:
        UserError: it is damaged, or unpacks to far more than its own size.
    """
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
    except ZIP_ERRORS as error:
        raise UserError(
            f"{path}: a damaged zip file ({reason_of(error)}); fetch it again."
        ) from error
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: a zip file with two entries of one name; it is not read.")
    total = sum(entry.file_size for entry in entries)
    if total > unpacked_limit(path):
        raise UserError(
            f"{path}: would unpack to {total:,} bytes, far more than its own size; it is not read."
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise UserError(f"{path}: an encrypted zip file; it is not read.")
    return names


def is_torchscript(names: list[str]) -> bool:
    """Tell a TorchScript archive by its entries; torch.save makes zip files too."""
    return any(re.fullmatch(r"[^/]+/constants\.pkl", name) for name in names)


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Read parameters and buffers by dotted name; nothing of the archive is run.

    Args:
        path: a TorchScript archive, as torch.jit.save writes and OpenAI publishes.

    Raises:
        UserError: the archive is damaged, has code that restores its objects, or holds tensors
            that do not fit the bytes of their storages.
    """
    check_zip(path)
    try:
        with zipfile.ZipFile(path) as file:
            archive = _Archive(file)
            root = read_pickle(archive.read("data.pkl", MAX_PICKLE))
            classes = archive.classes()
            records = dict(_named_records(root, classes))
            total = sum(record.n_bytes for record in records.values())
            if total > unpacked_limit(path):
                raise MalformedPickle(f"tensors of {total:,} bytes, far more than the file's size")
            return {name: archive.tensor(record) for name, record in records.items()}
    except MalformedPickle as error:
        raise UserError(f"{path}: a TorchScript archive that is not read: {error}.") from error
    except ZIP_ERRORS as error:
        raise UserError(f"{path}: a damaged TorchScript archive ({reason_of(error)}).") from error


class _Archive:
    """The entries of an archive below its one folder."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self.file = file
        self.entries = {entry.filename: entry for entry in file.infolist()}
        roots = {name.split("/")[0] for name in self.entries}
        if len(roots) != 1:
            raise MalformedPickle("its entries are not in one folder")
        (self.root,) = roots
        self.storages: dict[str, bytearray] = {}
        order = self.read("byteorder", 16) if f"{self.root}/byteorder" in self.entries else b""
        if order not in (b"", b"little", b"big"):
            raise MalformedPickle(f"the byte order {order!r}")
        self.swapped = bool(order) and order.decode() != sys.byteorder

    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of an entry of at most `limit` bytes."""
        entry = self.entries.get(f"{self.root}/{name}")
        if entry is None:
            raise MalformedPickle(f"no entry {name[:80]!r}")
        if entry.file_size > limit:
            raise MalformedPickle(f"{entry.file_size:,} bytes in the entry {name[:80]!r}")
        return self.file.read(entry)

    def classes(self) -> dict[str, Members]:
        """Return the module classes that the archive's code defines, by qualified name."""
        folder = f"{self.root}/code/"
        sources = [n for n in self.entries if n.startswith(folder) and n.endswith(".py")]
        if sum(self.entries[name].file_size for name in sources) > MAX_CODE:
            raise MalformedPickle("more code than any model has")
        found: dict[str, Members] = {}
        for name in sources:
            text = self.file.read(name).decode("utf-8")
            if "__setstate__" in text:
                raise MalformedPickle(
                    f"objects of {name.removeprefix(folder)[:80]!r} restore themselves by code of "
                    "their own (__setstate__), which is not run"
                )
            module = name.removeprefix(folder).removesuffix(".py").replace("/", ".")
            for class_name, members in _classes_in(text):
                found[f"{module}.{class_name}"] = members
        return found

    def tensor(self, record: TensorRecord) -> Tensor:
        """Return a tensor; those of one storage share its memory, as in the archive."""
        flat = self._storage(record.storage)
        return flat.as_strided(record.size, record.stride, record.offset)

    def _storage(self, record: StorageRecord) -> Tensor:
        name = f"{self.root}/data/{record.key}"
        entry = self.entries.get(name)
        if entry is None:
            raise MalformedPickle(f"no storage {record.key[:80]!r}")
        if entry.file_size != record.n_elements * record.dtype.itemsize:
            raise MalformedPickle(
                f"the storage {record.key[:80]!r} has {entry.file_size:,} bytes, not "
                f"{record.n_elements:,} elements of {record.dtype.itemsize}"
            )
        if not record.n_elements:
            return torch.empty(0, dtype=record.dtype)
        if record.key not in self.storages:
            # its size is that of the elements, and its checksum is compared
            content = bytearray(self.file.read(entry))
            if len(content) != entry.file_size:
                raise MalformedPickle(f"the storage {record.key[:80]!r} is cut short")
            if self.swapped:
                words = np.frombuffer(content, dtype=f"u{record.dtype.itemsize}")
                words.byteswap(inplace=True)
            self.storages[record.key] = content
        return torch.frombuffer(self.storages[record.key], dtype=record.dtype)


def _classes_in(source: str) -> Iterator[tuple[str, Members]]:
    """Give the classes of a source file of the archive that are modules."""
    for block in re.split(r"^class ", source, flags=re.MULTILINE)[1:]:
        head = re.match(r"(\w+)\(Module\):", block)
        if head:
            yield head[1], Members(_listed("parameters", block), _listed("buffers", block))


def _listed(kind: str, block: str) -> frozenset[str]:
    match = re.search(rf"^  __{kind}__ = \[([^\n]*)\]$", block, re.MULTILINE)
    return frozenset(re.findall(r'"([^"]*)"', match[1]) if match else ())


def _named_records(
    root: object, classes: Mapping[str, Members]
) -> Iterator[tuple[str, TensorRecord]]:
    """Give the tensors of a module and of the modules in it, in the order of a state dict."""
    if not isinstance(root, ObjectRecord) or root.class_name not in classes:
        raise MalformedPickle("it holds no module")
    visited = 0
    # modules still to be read, the next one last
    waiting: list[tuple[str, ObjectRecord, int]] = [("", root, 0)]
    while waiting:
        prefix, module, depth = waiting.pop()
        attributes = module.attributes or {}
        visited += 1 + len(attributes)
        # a module in itself, or one that doubles at each level, would never end
        if visited > MAX_NAMES or depth > MAX_DEPTH:
            raise MalformedPickle("modules in modules without end")
        members = classes[module.class_name]
        for listed in members:
            for name in attributes:
                value = attributes[name]
                if name in listed and isinstance(value, TensorRecord):
                    yield prefix + name, value
        waiting += [
            (f"{prefix}{name}.", value, depth + 1)
            for name, value in reversed(attributes.items())
            if isinstance(value, ObjectRecord) and value.class_name in classes
        ]
