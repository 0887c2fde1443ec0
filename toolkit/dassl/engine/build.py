"""Trainers by name."""

from typing import TYPE_CHECKING

from yacs.config import CfgNode

from dassl.utils import Registry

if TYPE_CHECKING:
    from dassl.engine.trainer import SimpleTrainer

TRAINER_REGISTRY = Registry("TRAINER_REGISTRY")


def build_trainer(cfg: CfgNode) -> "SimpleTrainer":
    """Return the trainer `cfg.TRAINER.NAME`, made from `cfg`.

    Raises:
        ValueError: no trainer is registered under that name.
    """
    if cfg.VERBOSE:
        print(f"Loading trainer: {cfg.TRAINER.NAME}")
    trainer: SimpleTrainer = TRAINER_REGISTRY.get(cfg.TRAINER.NAME, "TRAINER.NAME")(cfg)
    return trainer
