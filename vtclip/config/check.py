"""Values that no run can use, refused before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yacs.config import CfgNode

from vtclip.config.keys import DASSL_KEYS, PROJECT_KEYS, RECIPE, UNUSED, Domain
from vtclip.config.merge import flatten
from vtclip.errors import UserError, shortened, unknown_name
from vtclip.method import registered_methods
from vtclip.tracking import check_tracker


def domains() -> dict[str, Domain]:
    """Return what each key takes: Dassl's keys, this project's and those of the methods."""
    of_methods = {
        f"TRAINER.{method.option_node()}.{name}": option
        for method in registered_methods().values()
        for name, option in method.OPTIONS.items()
    }
    return {**DASSL_KEYS, **PROJECT_KEYS, **of_methods}


def check_cfg(cfg: CfgNode) -> None:
    """Refuse values that no run can use.

    Raises:
        UserError: names the key and what it takes.
    """
    known = domains()
    values = flatten(cfg)
    for key, value in values.items():
        domain = known.get(key, Domain())
        if problem := domain.problem(value):
            raise UserError(f"{key}: {problem}.")
        if domain.choices:
            for name in _texts(value):
                if name not in domain.choices:
                    raise unknown_name(key, name, domain.choices)
    for key, advice in UNUSED.items():
        if values.get(key):
            raise UserError(f"{key}: {advice}.")
    if cfg.TRAINER.RECIPE and not RECIPE.fullmatch(cfg.TRAINER.RECIPE):
        raise UserError(
            f"TRAINER.RECIPE: {shortened(repr(cfg.TRAINER.RECIPE))} is not a name of at most 30 "
            "letters, digits, dots and hyphens."
        )
    check_tracker(cfg.TRAIN.TRACK)
    if not cfg.OPTIM.STEPSIZE:
        raise UserError("OPTIM.STEPSIZE: is empty; it takes one or more epochs, such as (-1,).")
    if len(cfg.INPUT.RRCROP_SCALE) != 2 or cfg.INPUT.RRCROP_SCALE[0] > cfg.INPUT.RRCROP_SCALE[1]:
        raise UserError(
            f"INPUT.RRCROP_SCALE: {shortened(str(cfg.INPUT.RRCROP_SCALE))} is not (smallest, "
            "largest)."
        )
    for key, length in (("SIZE", 2), ("PIXEL_MEAN", 3), ("PIXEL_STD", 3)):
        if len(cfg.INPUT[key]) != length:
            found = shortened(str(cfg.INPUT[key]))
            raise UserError(f"INPUT.{key}: {found} does not have {length} numbers.")


def _texts(value: Any) -> list[str]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(item) for item in value]
    return [str(value)]
