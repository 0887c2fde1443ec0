"""The learning rate of each epoch against the formulas of CoOp's protocol."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from yacs.config import CfgNode as Node

from vtclip.errors import UserError
from vtclip.schedule import learning_rate


def optim_cfg(**values: object) -> SimpleNamespace:
    defaults: dict[str, object] = {
        "LR": 0.002,
        "LR_SCHEDULER": "cosine",
        "MAX_EPOCH": 50,
        "STEPSIZE": (-1,),
        "GAMMA": 0.1,
        "WARMUP_EPOCH": -1,
        "WARMUP_TYPE": "linear",
        "WARMUP_CONS_LR": 1e-5,
        "WARMUP_MIN_LR": 1e-5,
        "WARMUP_RECOUNT": True,
    }
    return SimpleNamespace(**(defaults | values))


def test_coops_cosine_with_one_warm_up_epoch() -> None:
    cfg = optim_cfg(WARMUP_EPOCH=1, WARMUP_TYPE="constant")
    assert learning_rate(0, cfg) == 1e-5
    for epoch in range(1, 50):
        expected = 0.002 * (1 + math.cos(math.pi * (epoch - 1) / 50)) / 2
        assert learning_rate(epoch, cfg) == pytest.approx(expected, rel=1e-12)


def test_without_recount_the_warm_up_epochs_count_from_the_full_rate() -> None:
    cfg = optim_cfg(WARMUP_EPOCH=2, WARMUP_TYPE="constant", WARMUP_RECOUNT=False, LR=0.02)
    cfg.MAX_EPOCH = 9
    # recorded from Dassl.pytorch
    expected = [1e-5, 1e-5, 0.02, 0.016987, 0.013291, 0.0093582, 0.0056624, 0.0026495, 0.00068297]
    assert [learning_rate(e, cfg) for e in range(9)] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("warmup", [0, 1, 2, 4])
@pytest.mark.parametrize("recount", [True, False])
@pytest.mark.parametrize(
    ("scheduler", "steps"), [("cosine", (-1,)), ("single_step", (3,)), ("multi_step", (2, 4, 6))]
)
def test_the_rates_are_those_of_dassls_schedulers(
    warmup: int, recount: bool, scheduler: str, steps: tuple[int, ...]
) -> None:
    dassl_optim = pytest.importorskip("dassl.optim")
    if not getattr(pytest.importorskip("dassl"), "STAND_IN", False):
        pytest.skip("the warm-up of Dassl.pytorch does not run on current PyTorch")
    cfg = optim_cfg(WARMUP_EPOCH=warmup, WARMUP_RECOUNT=recount, LR_SCHEDULER=scheduler)
    cfg.STEPSIZE, cfg.MAX_EPOCH = steps, 9
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=cfg.LR)
    schedule = dassl_optim.build_lr_scheduler(optimizer, Node(vars(cfg)))
    for epoch in range(9):
        assert learning_rate(epoch, cfg) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_a_run_of_nothing_but_warm_up() -> None:
    cfg = optim_cfg(WARMUP_EPOCH=5, WARMUP_RECOUNT=False, MAX_EPOCH=5)
    assert learning_rate(5, cfg) == cfg.LR


def test_linear_warm_up() -> None:
    cfg = optim_cfg(WARMUP_EPOCH=4)
    rates = [learning_rate(epoch, cfg) for epoch in range(5)]
    assert rates == pytest.approx([1e-5, 0.0005, 0.001, 0.0015, 0.002])


@pytest.mark.parametrize(
    ("values", "make"),
    [
        ({"LR_SCHEDULER": "single_step", "STEPSIZE": (7,)}, lambda o: ("StepLR", o, 7)),
        ({"LR_SCHEDULER": "multi_step", "STEPSIZE": (3, 9)}, lambda o: ("MultiStepLR", o, [3, 9])),
        ({"LR_SCHEDULER": "single_step"}, lambda o: ("StepLR", o, 50)),
    ],
)
def test_steps_equal_torchs(values: dict[str, object], make) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.002)
    name, *arguments = make(optimizer)
    schedule = getattr(torch.optim.lr_scheduler, name)(*arguments, gamma=0.1)
    for epoch in range(50):
        assert learning_rate(epoch, optim_cfg(**values)) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean cosine"):
        learning_rate(3, optim_cfg(LR_SCHEDULER="cosin"))
    with pytest.raises(UserError, match="did you mean linear"):
        learning_rate(0, optim_cfg(WARMUP_EPOCH=1, WARMUP_TYPE="linaer"))
