"""Files of torch.save: written whole or not at all, read without running code from them."""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from vtclip.files import atomic_path, require_file

# what torch.load and its restricted unpickler raise for damaged and hostile files
_ERRORS = (
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
    pickle.UnpicklingError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    ImportError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    NotImplementedError,
)


# what is unpacked may be this much larger than the file, or this many bytes
MAX_RATIO = 8
ALWAYS_ALLOWED = 256 << 20
# the zip entry that tells a TorchScript archive
_SIGN = b"constants.pkl"


class UnreadableFile(Exception):
    """A file that torch.load refuses; the message is the first line of the reason."""


class _Sink:
    """A file that torch.save writes to its end, also where that fails; `error` is then why.

    torch.save would raise a RuntimeError of its own, which does not say what went wrong.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Do nothing; the file is flushed where it is closed."""


def save_atomically(content: Any, path: Path) -> None:
    """Write `content` by torch.save: `path` holds all of it, or what it held before.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        sink = _Sink(file)
        torch.save(content, cast(IO[bytes], sink))
        if sink.error is not None:
            raise sink.error


def unpacked_limit(path: Path) -> int:
    """Return how many bytes the tensors of a file may take; more is a bomb."""
    return max(MAX_RATIO * path.stat().st_size, ALWAYS_ALLOWED)


def load_on_cpu(path: Path) -> Any:
    """Read tensors and plain values onto the CPU.

    A zip file that would unpack to far more than its own size is refused before it is unpacked.

    Raises:
        UserError: it is no regular file.
        FileNotFoundError, PermissionError: the system refuses to open it.
        UnreadableFile: it is damaged, or holds more than tensors and plain values.
    """
    try:
        require_file(path)
        if _may_be_torchscript(path):
            raise UnreadableFile("a TorchScript archive, whose code is not run")
        if _is_tar(path):
            raise UnreadableFile("a tar file, as PyTorch wrote before 0.1.10")
        if problem := _problem_of_zip(path):
            raise UnreadableFile(problem)
        with path.open("rb") as file, warnings.catch_warnings():
            # of old storages and of odd protocols; what cannot be read is an error anyway
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(file, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError):
        raise
    except _ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile(reason[:120]) from error


def _may_be_torchscript(path: Path) -> bool:
    """Tell whether torch.load might give a file to torch.jit.load.

    PyTorch before 2.6 does that under weights_only=True too. All bytes are searched, since two
    readers of zip files may find different entries in a forged one.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_SIGN) >= 0


def _problem_of_zip(path: Path) -> str:
    """Return why a zip file is not unpacked, "" where it may be or the file is another one."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return ""
        with zipfile.ZipFile(file) as archive:
            entries, start = archive.infolist(), archive.start_dir
        if start != _start_of_directory(file):
            return "a zip file with two directories, or with something after its end"
    total = sum(entry.file_size for entry in entries)
    if total > unpacked_limit(path):
        return f"it would unpack to {total:,} bytes, far more than its own size"
    return ""


def _start_of_directory(file: BinaryIO) -> int:
    """Return where the directory of a zip file starts, in the way of torch's reader.

    The reader of Python finds other directories in files that do not end where the zip file does,
    or have something before it. -1 stands for such a file.
    """
    size = file.seek(0, os.SEEK_END)
    end = size - 22
    if end < 0:
        return -1
    file.seek(end)
    sign, start, comment = struct.unpack("<4s12xIH", file.read(22))
    if sign != b"PK\x05\x06" or comment:
        return -1
    if start < 0xFFFFFFFF:
        return int(start)
    # the record with numbers of 64 bits, and where it is, stand before
    file.seek(max(0, end - 76))
    record = file.read(76)
    if len(record) < 76 or record[:4] != b"PK\x06\x06" or record[56:60] != b"PK\x06\x07":
        return -1
    if struct.unpack("<Q", record[64:72])[0] != end - 76:
        return -1
    return int(struct.unpack("<Q", record[48:56])[0])


def _is_tar(path: Path) -> bool:
    """Tell whether torch.load might unpack a file as tar, unsafe in PyTorch before 2.6."""
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.TarError:
        return False
