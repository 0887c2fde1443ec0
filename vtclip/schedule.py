"""The learning rate of each epoch, as CoOp trains: a warm-up, then cosine, step or steps.

Written out as a function of the epoch because Dassl's warm-up schedulers do not run on current
PyTorch, and because a resumed run then needs no state but the epoch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from vtclip.errors import unknown_name

SCHEDULERS = ("cosine", "single_step", "multi_step")


def learning_rate(epoch: float, optim_cfg: Any) -> float:
    """Return the learning rate at an epoch.

    Args:
        epoch: from 0; a fraction where the schedule advances by step.
        optim_cfg: Dassl's OPTIM node.

    Raises:
        UserError: OPTIM.LR_SCHEDULER or OPTIM.WARMUP_TYPE is unknown.
    """
    warmup = max(optim_cfg.WARMUP_EPOCH, 0)
    if epoch < warmup:
        return _warmup(epoch, optim_cfg)
    if optim_cfg.WARMUP_RECOUNT:
        return float(optim_cfg.LR) * _decay(epoch - warmup, optim_cfg)
    # As Dassl does it: the epochs of the warm-up count, but the first one after it still runs at
    # the full rate, and the later ones in proportion to it.
    start = _decay(warmup, optim_cfg)
    if epoch == warmup or start == 0:
        return float(optim_cfg.LR)
    return float(optim_cfg.LR) * _decay(epoch, optim_cfg) / start


def _warmup(epoch: float, optim_cfg: Any) -> float:
    if optim_cfg.WARMUP_TYPE == "constant":
        return float(optim_cfg.WARMUP_CONS_LR)
    if optim_cfg.WARMUP_TYPE == "linear":
        if epoch == 0:
            return float(optim_cfg.WARMUP_MIN_LR)
        return float(optim_cfg.LR) * epoch / int(optim_cfg.WARMUP_EPOCH)
    raise unknown_name("OPTIM.WARMUP_TYPE", optim_cfg.WARMUP_TYPE, ("constant", "linear"))


def _decay(epoch: float, optim_cfg: Any) -> float:
    steps = [size if size > 0 else optim_cfg.MAX_EPOCH for size in optim_cfg.STEPSIZE]
    if optim_cfg.LR_SCHEDULER == "cosine":
        return (1 + math.cos(math.pi * epoch / optim_cfg.MAX_EPOCH)) / 2
    if optim_cfg.LR_SCHEDULER == "single_step":
        return float(optim_cfg.GAMMA ** (epoch // steps[-1]))
    if optim_cfg.LR_SCHEDULER == "multi_step":
        return float(optim_cfg.GAMMA ** sum(epoch >= step for step in steps))
    raise unknown_name("OPTIM.LR_SCHEDULER", optim_cfg.LR_SCHEDULER, SCHEDULERS)


def build_scheduler(
    optimizer: torch.optim.Optimizer, optim_cfg: Any, steps_per_epoch: int = 1
) -> LambdaLR:
    """Return the scheduler that follows :func:`learning_rate`, in steps or in whole epochs.

    Args:
        optimizer: its rates are OPTIM.LR.
        optim_cfg: the OPTIM node.
        steps_per_epoch: how often the scheduler is advanced per epoch.
    """

    def factor(step: int) -> float:
        return learning_rate(step / steps_per_epoch, optim_cfg) / float(optim_cfg.LR)

    return LambdaLR(optimizer, factor)


def fused(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Let Adam and AdamW pass over parameters and moments once per step, not ten times."""
    # a fused SGD fails on a parameter whose first gradient comes late
    if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        for group in optimizer.param_groups:
            group["fused"] = True
    return optimizer
