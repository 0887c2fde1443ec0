"""Learning-rate schedules, stepped once an epoch, with a warm-up before them."""

from collections.abc import Callable
from typing import Any, SupportsFloat

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR
from yacs.config import CfgNode

from dassl.utils import check_availability
from dassl.utils.checks import check_number, check_sequence, check_whole

SCHEDULERS = ("single_step", "multi_step", "cosine")
WARMUPS = ("linear", "constant")


def build_lr_scheduler(optimizer: Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    """Return the schedule `optim_cfg.LR_SCHEDULER`, after a warm-up if there is one.

    Args:
        optimizer: its parameter groups hold the full learning rates.
        optim_cfg: the OPTIM node. single_step multiplies by GAMMA every STEPSIZE epochs (the last
            number of a sequence; not positive: MAX_EPOCH), multi_step at each of STEPSIZE, cosine
            falls to 0 at MAX_EPOCH. A positive WARMUP_EPOCH puts a `WarmupLR` before it, at
            WARMUP_CONS_LR (constant) or rising from WARMUP_MIN_LR (linear).

    Raises:
        ValueError: no such schedule or warm-up, or a number that does not suit it; one line that
            begins with the key.
    """
    check_availability(optim_cfg.LR_SCHEDULER, SCHEDULERS, "OPTIM.LR_SCHEDULER")
    check_whole(optim_cfg.MAX_EPOCH, "OPTIM.MAX_EPOCH")
    check_whole(optim_cfg.WARMUP_EPOCH, "OPTIM.WARMUP_EPOCH", low=None)
    main = _main_schedule(optimizer, optim_cfg)
    epochs = optim_cfg.WARMUP_EPOCH
    if epochs <= 0:
        return main
    check_availability(optim_cfg.WARMUP_TYPE, WARMUPS, "OPTIM.WARMUP_TYPE")
    key = "WARMUP_CONS_LR" if optim_cfg.WARMUP_TYPE == "constant" else "WARMUP_MIN_LR"
    check_number(optim_cfg[key], f"OPTIM.{key}")

    def constant(base_lr: SupportsFloat, epoch: int) -> float:
        return float(optim_cfg.WARMUP_CONS_LR)

    def linear(base_lr: SupportsFloat, epoch: int) -> float:
        return float(optim_cfg.WARMUP_MIN_LR if epoch == 0 else float(base_lr) * epoch / epochs)

    warmup_lr = constant if optim_cfg.WARMUP_TYPE == "constant" else linear
    return WarmupLR(optimizer, main, epochs, warmup_lr, recount=optim_cfg.WARMUP_RECOUNT)


class WarmupLR(LRScheduler):
    """A few epochs of warm-up, then another schedule.

    Its state is plain: `last_epoch`, the current learning rates and the state of the main schedule.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        main: LRScheduler,
        epochs: int,
        warmup_lr: Callable[[SupportsFloat, int], float],
        recount: bool,
    ) -> None:
        """Set the learning rate of epoch 0.

        Args:
            optimizer: the optimizer of `main`.
            main: the schedule of the epochs after the warm-up, not yet stepped.
            epochs: length of the warm-up, at least 1.
            warmup_lr: from a group's full learning rate and the epoch to its rate in the warm-up.
            recount: the first epoch after the warm-up is epoch 0 of `main`. Otherwise it is epoch
                `epochs` of `main`, but still runs at the full rate: later rates are in proportion
                to it, and steps that fall into the warm-up are not made up for.
        """
        self.main = main
        self.epochs = epochs
        self.warmup_lr = warmup_lr
        self.recount = recount
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rates of the warm-up, of its end, or those that `main` has set."""
        if self.last_epoch < self.epochs:
            return [self.warmup_lr(base_lr, self.last_epoch) for base_lr in self.base_lrs]
        if self.last_epoch == self.epochs:
            return list(self.base_lrs)
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch."""
        super().step(epoch)
        if self.last_epoch < self.epochs:
            return
        # The schedules of torch work from the rate that the optimizer holds, so that `main` can
        # only be stepped when the warm-up has given it back.
        if self.last_epoch > self.epochs:
            self.main.step()
        elif not self.recount:
            self.main.last_epoch = self.epochs
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs."""
        return {
            "last_epoch": self.last_epoch,
            "last_lr": [float(lr) for lr in self.get_last_lr()],
            "main": self.main.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`; the optimizer's state has to be loaded as well."""
        self.last_epoch = state_dict["last_epoch"]
        self._last_lr = list(state_dict["last_lr"])
        self.main.load_state_dict(state_dict["main"])


def _main_schedule(optimizer: Optimizer, node: CfgNode) -> LRScheduler:
    if node.LR_SCHEDULER == "cosine":
        return CosineAnnealingLR(optimizer, T_max=node.MAX_EPOCH)
    stepsize = node.STEPSIZE
    if isinstance(stepsize, int):
        stepsize = (stepsize,)
    check_sequence(stepsize, "OPTIM.STEPSIZE")
    steps = list(stepsize)
    if not steps:
        raise ValueError("OPTIM.STEPSIZE: must name at least one epoch")
    check_number(node.GAMMA, "OPTIM.GAMMA")
    if node.LR_SCHEDULER == "single_step":
        check_whole(steps[-1], "OPTIM.STEPSIZE", low=None)
        size = steps[-1] if steps[-1] > 0 else node.MAX_EPOCH
        return StepLR(optimizer, step_size=size, gamma=node.GAMMA)
    for step in steps:
        check_whole(step, "OPTIM.STEPSIZE", low=1)
    return MultiStepLR(optimizer, milestones=steps, gamma=node.GAMMA)
