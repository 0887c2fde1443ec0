"""Write the network in OpenAI's checkpoint layout, small enough for the repository."""

import zipfile
from pathlib import Path

import torch
from torch import Tensor


def to_half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors as contiguous fp16; counters (of batch norm) unchanged."""
    return {
        name: (value.half() if value.is_floating_point() else value).contiguous().clone()
        for name, value in state.items()
    }


def deflate(source: Path, target: Path, level: int) -> None:
    """Repack the zip archive that `torch.save` writes, compressed and with fixed dates.

    `torch.save` stores its records uncompressed; `torch.load` reads compressed ones as well.
    """
    with (
        zipfile.ZipFile(source) as stored,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for record in stored.infolist():
            entry = zipfile.ZipInfo(record.filename, date_time=(1980, 1, 1, 0, 0, 0))
            packed.writestr(entry, stored.read(record), zipfile.ZIP_DEFLATED, compresslevel=level)


def save_state(state: dict[str, Tensor], path: Path, level: int = 9) -> None:
    """Write a state dict atomically: `path` is the old file or the whole new one.

    `level` is zlib's; the default gives the smallest file and takes some ten seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = path.with_name(path.name + ".stored")
    packed = path.with_name(path.name + ".part")
    try:
        torch.save(to_half(state), stored)
        deflate(stored, packed, level)
        packed.replace(path)
    finally:
        stored.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)
