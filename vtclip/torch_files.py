"""Files of torch.save: written whole or not at all, read without running code from them."""

from __future__ import annotations

import mmap
import pickle
import struct
import tarfile
import warnings
from pathlib import Path
from typing import IO, Any, cast

import torch

from vtclip.files import atomic_path

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
)


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


def load_on_cpu(path: Path) -> Any:
    """Read tensors and plain values onto the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableFile: it is damaged, or holds more than tensors and plain values.
    """
    try:
        if _may_be_torchscript(path):
            raise UnreadableFile("a TorchScript archive, whose code is not run")
        if _is_tar(path):
            raise UnreadableFile("a tar file, as PyTorch wrote before 0.1.10")
        with path.open("rb") as file, warnings.catch_warnings():
            # of old storages and of odd protocols; what cannot be read is an error anyway
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
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


def _is_tar(path: Path) -> bool:
    """Tell whether torch.load might unpack a file as tar, unsafe in PyTorch before 2.6."""
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.TarError:
        return False
