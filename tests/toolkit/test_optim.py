import math

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn, optim
from torch.optim.lr_scheduler import MultiStepLR, StepLR


def node(**keys):
    cfg = get_cfg_default().OPTIM
    for key, value in keys.items():
        setattr(cfg, key, value)
    return cfg


def rates(cfg, epochs):
    optimizer = build_optimizer(nn.Linear(2, 2), cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == [found[-1]]
        optimizer.step()
        scheduler.step()
    return found


def cosine(lr, epoch, max_epoch):
    return lr * (1 + math.cos(math.pi * epoch / max_epoch)) / 2


COSINE = {"LR": 0.002, "LR_SCHEDULER": "cosine", "MAX_EPOCH": 50}
CONSTANT = {"WARMUP_EPOCH": 1, "WARMUP_TYPE": "constant"}


def test_cosine_without_warmup():
    assert rates(node(**COSINE), 50) == pytest.approx([cosine(0.002, e, 50) for e in range(50)])


def test_cosine_after_one_constant_epoch():
    expected = [1e-5] + [cosine(0.002, e - 1, 50) for e in range(1, 50)]
    assert rates(node(**COSINE, **CONSTANT), 50) == pytest.approx(expected, rel=1e-9)


def test_without_recount_the_warmup_counts_from_the_full_rate():
    after = [cosine(0.002, e, 50) / cosine(1, 3, 50) for e in range(3, 50)]
    expected = [1e-5] * 3 + after
    assert after[0] == 0.002
    cfg = node(**COSINE, **{**CONSTANT, "WARMUP_EPOCH": 3}, WARMUP_RECOUNT=False)
    assert rates(cfg, 50) == pytest.approx(expected, rel=1e-9)


def test_linear_warmup():
    cfg = node(**COSINE, WARMUP_EPOCH=4, WARMUP_MIN_LR=1e-4)
    expected = [1e-4, 0.0005, 0.001, 0.0015] + [cosine(0.002, e, 50) for e in range(4)]
    assert rates(cfg, 8) == pytest.approx(expected)


def test_without_recount_steps_in_the_warmup_are_not_made_up_for():
    cfg = node(LR=1.0, STEPSIZE=(3,), MAX_EPOCH=9, **{**CONSTANT, "WARMUP_EPOCH": 4})
    cfg.WARMUP_RECOUNT = False
    assert rates(cfg, 9) == pytest.approx([1e-5] * 4 + [1, 1, 0.1, 0.1, 0.1])
    cfg.LR_SCHEDULER, cfg.STEPSIZE = "multi_step", (2, 4, 6)
    assert rates(cfg, 9) == pytest.approx([1e-5] * 4 + [1, 1, 0.1, 0.1, 0.1])


def test_warmup_before_steps():
    cfg = node(LR=1.0, STEPSIZE=(2,), MAX_EPOCH=6, **CONSTANT)
    assert rates(cfg, 6) == pytest.approx([1e-5, 1, 1, 0.1, 0.1, 0.01])


def test_single_step_and_multi_step():
    assert rates(node(LR=1.0, STEPSIZE=(2,)), 5) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert rates(node(LR=1.0, MAX_EPOCH=3), 4) == pytest.approx([1, 1, 1, 0.1])
    multi = node(LR=1.0, LR_SCHEDULER="multi_step", STEPSIZE=(1, 3))
    assert rates(multi, 4) == pytest.approx([1, 0.1, 0.1, 0.01])
    optimizer = build_optimizer(nn.Linear(2, 2), multi)
    assert isinstance(build_lr_scheduler(optimizer, multi), MultiStepLR)
    assert isinstance(build_lr_scheduler(optimizer, node()), StepLR)


def test_steps_that_do_not_suit():
    cfg = node(LR_SCHEDULER="multi_step")
    optimizer = build_optimizer(nn.Linear(2, 2), cfg)
    with pytest.raises(
        ValueError, match=r"^OPTIM.STEPSIZE: must be a whole number from 1, not -1$"
    ):
        build_lr_scheduler(optimizer, cfg)
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        build_lr_scheduler(optimizer, node(LR_SCHEDULER="cosin"))
    with pytest.raises(ValueError, match="there are linear, constant"):
        build_lr_scheduler(optimizer, node(WARMUP_EPOCH=1, WARMUP_TYPE="none"))


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_schedule_goes_on_from_its_state(stop):
    cfg = node(**COSINE, WARMUP_EPOCH=2, WARMUP_TYPE="constant")
    whole = rates(cfg, 10)
    optimizer = build_optimizer(nn.Linear(2, 2), cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    for _ in range(stop):
        optimizer.step()
        scheduler.step()
    later_optimizer = build_optimizer(nn.Linear(2, 2), cfg)
    later = build_lr_scheduler(later_optimizer, cfg)
    later_optimizer.load_state_dict(optimizer.state_dict())
    later.load_state_dict(scheduler.state_dict())
    assert later.get_last_lr() == [whole[stop]]
    for epoch in range(stop, 10):
        assert later_optimizer.param_groups[0]["lr"] == whole[epoch]
        later_optimizer.step()
        later.step()


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("adam", optim.Adam, {"betas": (0.8, 0.99), "amsgrad": False}),
        ("amsgrad", optim.Adam, {"betas": (0.8, 0.99), "amsgrad": True}),
        ("radam", optim.RAdam, {"betas": (0.8, 0.99)}),
        ("adamw", optim.AdamW, {"betas": (0.8, 0.99)}),
        ("rmsprop", optim.RMSprop, {"momentum": 0.7, "alpha": 0.95}),
        ("sgd", optim.SGD, {"momentum": 0.7, "dampening": 0, "nesterov": True}),
    ],
)
def test_optimizers_and_their_options(name, kind, options):
    cfg = node(
        NAME=name,
        LR=0.01,
        WEIGHT_DECAY=0.02,
        ADAM_BETA1=0.8,
        ADAM_BETA2=0.99,
        MOMENTUM=0.7,
        RMSPROP_ALPHA=0.95,
        SGD_NESTEROV=True,
    )
    optimizer = build_optimizer(nn.Linear(2, 2), cfg)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert {key: group[key] for key in options} == options
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.01, 0.02, 2)


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="there are adam, amsgrad, sgd, rmsprop, radam, adamw"):
        build_optimizer(nn.Linear(2, 2), node(NAME="lion"))


def test_parameters_and_groups_instead_of_a_module():
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    groups = [{"params": [a], "lr": 0.5}, {"params": [b]}]
    for optimizer in (
        build_optimizer(groups, node(LR=0.1)),
        build_optimizer(nn.Linear(2, 2), node(LR=0.1), param_groups=groups),
    ):
        assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1]
    assert build_optimizer([a, b], node()).param_groups[0]["params"] == [a, b]


def test_staged_lr():
    model = nn.ModuleDict({"base": nn.Linear(2, 2), "head": nn.Linear(2, 3)})
    cfg = node(STAGED_LR=True, NEW_LAYERS=("head",), LR=1.0)
    base, new = build_optimizer(model, cfg).param_groups
    assert (base["lr"], new["lr"]) == (0.1, 1.0)
    assert [tuple(p.shape) for p in new["params"]] == [(3, 2), (3,)]
    with pytest.raises(ValueError, match="did you mean 'head'"):
        build_optimizer(model, node(STAGED_LR=True, NEW_LAYERS=("haed",)))
