"""The methods, one file each; importing this package registers them all with Dassl."""

from trainers import (
    calip,
    clap,
    clip_adapter,
    coop,
    gda,
    linear_probe,
    lp_plus_plus,
    p0,
    proker,
    rla,
    ss_text,
    task_res,
    tip_adapter,
    vtclip,
    vtclip_plus,
    zsclip,
)

__all__ = [
    "calip",
    "clap",
    "clip_adapter",
    "coop",
    "gda",
    "linear_probe",
    "lp_plus_plus",
    "p0",
    "proker",
    "rla",
    "ss_text",
    "task_res",
    "tip_adapter",
    "vtclip",
    "vtclip_plus",
    "zsclip",
]
