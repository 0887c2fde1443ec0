"""The arithmetic of a device: what it is fast in, and what autocast makes of it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def bf16_is_fast(device: torch.device | str) -> bool:
    """Return whether bf16 products are instructions of a device, and not emulated.

    Emulated on a CPU they are slower than fp32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    return kind == "cpu" and _cpu_has_bf16()


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Multiply in `dtype`; None shuts out the autocast of a caller. Devices without one stay."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Return what autocast makes products in now, None where it is off."""
    kind = device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def _cpu_has_bf16() -> bool:
    """Ask for the instructions: AVX-512 BF16 or AMX."""
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    # before torch had the table, the same questions had names of their own
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in questions)
