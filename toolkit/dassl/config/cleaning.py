"""Leave in a configuration only what concerns the chosen trainer."""

from yacs.config import CfgNode


def clean_cfg(cfg: CfgNode, trainer: str) -> None:
    """Remove the nodes of all other trainers from `cfg.TRAINER`, in place.

    A trainer's node has the trainer's name in capitals; `cfg.TRAINER.NAME` stays. Call it before
    `cfg.freeze()`.
    """
    for key in list(cfg.TRAINER):
        if key not in ("NAME", trainer.upper()):
            del cfg.TRAINER[key]
