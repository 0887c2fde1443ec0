"""Optimizers as the configuration names them."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn, optim
from yacs.config import CfgNode

from dassl.utils import check_availability
from dassl.utils.checks import check_number

OPTIMIZERS = ("adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw")


def build_optimizer(
    model: nn.Module | Iterable[torch.Tensor] | Iterable[dict[str, Any]],
    optim_cfg: CfgNode,
    param_groups: Iterable[dict[str, Any]] | Iterable[torch.Tensor] | None = None,
) -> optim.Optimizer:
    """Return the optimizer `optim_cfg.NAME` over the parameters of `model`.

    Args:
        model: a module, or its parameters, or parameter groups.
        optim_cfg: the OPTIM node. With `STAGED_LR`, the children of the module that are named in
            `NEW_LAYERS` learn at `LR` and all others at `LR * BASE_LR_MULT`.
        param_groups: parameters or groups to use instead; STAGED_LR is then not looked at.

    Raises:
        ValueError: no such optimizer, a number out of range, or a new layer that the module does
            not have; one line that begins with the key.
        TypeError: STAGED_LR without a module.
    """
    check_availability(optim_cfg.NAME, OPTIMIZERS, "OPTIM.NAME")
    _check_numbers(optim_cfg)
    params: Any
    if param_groups is not None:
        params = param_groups
    elif optim_cfg.STAGED_LR:
        params = _staged_groups(model, optim_cfg)
    else:
        params = model.parameters() if isinstance(model, nn.Module) else model
    return _optimizer(params, optim_cfg)


def _check_numbers(node: CfgNode) -> None:
    """Check what the optimizer `node.NAME` uses."""
    check_number(node.LR, "OPTIM.LR")
    check_number(node.WEIGHT_DECAY, "OPTIM.WEIGHT_DECAY")
    if node.STAGED_LR:
        check_number(node.BASE_LR_MULT, "OPTIM.BASE_LR_MULT")
    if node.NAME in ("adam", "amsgrad", "radam", "adamw"):
        check_number(node.ADAM_BETA1, "OPTIM.ADAM_BETA1", below=1.0)
        check_number(node.ADAM_BETA2, "OPTIM.ADAM_BETA2", below=1.0)
        return
    check_number(node.MOMENTUM, "OPTIM.MOMENTUM")
    if node.NAME == "rmsprop":
        check_number(node.RMSPROP_ALPHA, "OPTIM.RMSPROP_ALPHA")
        return
    check_number(node.SGD_DAMPNING, "OPTIM.SGD_DAMPNING")
    if node.SGD_NESTEROV and (node.MOMENTUM == 0 or node.SGD_DAMPNING != 0):
        raise ValueError("OPTIM.SGD_NESTEROV: needs a MOMENTUM above 0 and SGD_DAMPNING 0")


def _optimizer(params: Any, node: CfgNode) -> optim.Optimizer:
    common = {"lr": node.LR, "weight_decay": node.WEIGHT_DECAY}
    betas = (node.ADAM_BETA1, node.ADAM_BETA2)
    if node.NAME == "adam":
        return optim.Adam(params, betas=betas, **common)
    if node.NAME == "amsgrad":
        return optim.Adam(params, betas=betas, amsgrad=True, **common)
    if node.NAME == "radam":
        return optim.RAdam(params, betas=betas, **common)
    if node.NAME == "adamw":
        return optim.AdamW(params, betas=betas, **common)
    if node.NAME == "rmsprop":
        return optim.RMSprop(params, momentum=node.MOMENTUM, alpha=node.RMSPROP_ALPHA, **common)
    return optim.SGD(
        params,
        momentum=node.MOMENTUM,
        dampening=node.SGD_DAMPNING,
        nesterov=node.SGD_NESTEROV,
        **common,
    )


def _staged_groups(model: Any, node: CfgNode) -> list[dict[str, Any]]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"STAGED_LR needs a module to look for NEW_LAYERS, not a {type(model)}")
    new_layers: Sequence[str] = (
        [node.NEW_LAYERS] if isinstance(node.NEW_LAYERS, str) else node.NEW_LAYERS
    )
    children = [name for name, _ in model.named_children()]
    for name in new_layers:
        check_availability(name, children, "OPTIM.NEW_LAYERS")
    new: list[torch.Tensor] = []
    base: list[torch.Tensor] = []
    for name, parameter in model.named_parameters():
        (new if name.split(".")[0] in new_layers else base).append(parameter)
    return [{"params": base, "lr": node.LR * node.BASE_LR_MULT}, {"params": new}]
