"""The methods, one file each; importing this package registers them all with Dassl."""

from trainers import (
    calip,
    clip_adapter,
    coop,
    gda,
    linear_probe,
    p0,
    proker,
    rla,
    ss_text,
    tip_adapter,
    vtclip,
    zsclip,
)

__all__ = [
    "calip",
    "clip_adapter",
    "coop",
    "gda",
    "linear_probe",
    "p0",
    "proker",
    "rla",
    "ss_text",
    "tip_adapter",
    "vtclip",
    "zsclip",
]
