"""Scores of a whole split: the method's, and zero-shot CLIP's beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional as F

from vtclip.errors import UserError
from vtclip.screen import Countable, counted

if TYPE_CHECKING:
    from vtclip.engine import FrozenCLIPTrainer


def evaluate(trainer: FrozenCLIPTrainer, loader: Countable[Any]) -> tuple[dict[str, Any], int]:
    """Score the batches of a split.

    Returns:
        What Dassl's evaluator makes of them, and the number of images that zero-shot CLIP
        classifies correctly.

    Raises:
        UserError: a score is not finite, so that no accuracy can be told.
    """
    trainer.evaluator.reset()
    zero_shot_correct = 0
    for batch in counted(loader, "testing", "batches"):
        features, label = trainer.parse_batch_train(batch)
        logits = trainer.logits(features)
        check_finite(trainer, logits)
        trainer.evaluator.process(logits, label)
        zero_shot = F.normalize(features.global_features, dim=-1) @ trainer.text_features.T
        zero_shot_correct += int((zero_shot.argmax(1) == label).sum())
    return trainer.evaluator.evaluate(), zero_shot_correct


def check_finite(trainer: FrozenCLIPTrainer, logits: Tensor) -> None:
    """Refuse scores that are not finite: their largest would be counted as a prediction.

    Raises:
        UserError: names what is at fault, the trained weights or the scores themselves.
    """
    if logits.isfinite().all():
        return
    name = trainer.cfg.TRAINER.NAME
    weights = [] if trainer.head is None else list(trainer.head.parameters())
    if any(not weight.isfinite().all() for weight in [*weights, *trainer.fitted.values()]):
        raise UserError(
            f"{name}: its trained weights are not finite, so neither are its scores; train with an "
            f"OPTIM.LR below {trainer.cfg.OPTIM.LR}."
        )
    raise UserError(
        f"{name}: its scores are not finite, though its weights are; check "
        f"TRAINER.{trainer.option_node()} and the features."
    )
