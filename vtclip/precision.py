"""Which arithmetic a device is fast in."""

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


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Shut out the autocast of a caller, on devices that have one."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _cpu_has_bf16() -> bool:
    """Ask for the instructions: AVX-512 BF16 or AMX."""
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    # before torch had the table, the same questions had names of their own
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in asked)
