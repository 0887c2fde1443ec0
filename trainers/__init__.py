"""The methods, one file each; importing this package registers them all with Dassl."""

from trainers import (
    calip,
    clap,
    clip_adapter,
    coop,
    linear_probe,
    lp_plus_plus,
    proker,
    ss_text,
    task_res,
    tip_adapter,
    vtclip,
    zsclip,
)

__all__ = [
    "calip",
    "clap",
    "clip_adapter",
    "coop",
    "linear_probe",
    "lp_plus_plus",
    "proker",
    "ss_text",
    "task_res",
    "tip_adapter",
    "vtclip",
    "zsclip",
]
