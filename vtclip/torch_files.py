"""Files that torch.save wrote, read without running code from them."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import torch

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


class UnreadableFile(Exception):
    """A file that torch.load refuses; the message is the first line of the reason."""


def load_on_cpu(path: Path) -> Any:
    """Read tensors and plain values onto the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableFile: it is damaged, or holds more than tensors and plain values.
    """
    try:
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except _ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile(reason[:120]) from error
