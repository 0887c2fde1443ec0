"""The features that the runs of a dataset share, computed before the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from vtclip.errors import UserError
from vtclip.screen import taken_over


def encode(plan_of: Callable[[Any], Any], runs: Sequence[Any]) -> int:
    """Encode the images of runs into the feature cache: the test, and few-shot lists as they are.

    Augmented views are left to the runs, since only they know which they use; the cache keeps them
    as well. A run that is refused is passed over, since it says so itself.

    Args:
        plan_of: from arguments of train.py to a :class:`vtclip.run_config.RunPlan`.
        runs: the parsed arguments of each.

    Returns:
        The number of images of the lists.
    """
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed

    from vtclip.plugins import import_modules

    images = 0
    for arguments in runs:
        import_modules(["trainers", "datasets"], arguments.plugin)
        with suppress(UserError), taken_over():
            cfg, _ = plan_of(arguments).run(arguments.seed, several=False)
            if cfg.SEED >= 0:
                set_random_seed(cfg.SEED)
            trainer: Any = build_trainer(cfg)
            splits = ("train", "val", "test") if trainer.uses_shots else ("test",)
            for split in splits:
                if count := len(trainer.facts.items[split]):
                    trainer.provider.split(split)
                    images += count
    return images
