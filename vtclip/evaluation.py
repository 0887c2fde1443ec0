"""Scores of a whole split: the method's, and zero-shot CLIP's beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from vtclip.errors import UserError

if TYPE_CHECKING:
    from vtclip.engine import FrozenCLIPTrainer


def evaluate(trainer: FrozenCLIPTrainer, loader: Iterable[Any]) -> tuple[dict[str, Any], int]:
    """Score the batches of a split.

    Returns:
        What Dassl's evaluator makes of them, and the number of images that zero-shot CLIP
        classifies correctly.

    Raises:
        UserError: a score is not finite, so that no accuracy can be told.
    """
    trainer.evaluator.reset()
    zero_shot_correct = 0
    # to the terminal itself: the log has no use for a bar
    for batch in tqdm(loader, disable=None, desc="test"):
        features, label = trainer.parse_batch_train(batch)
        logits = trainer.logits(features)
        check_finite(trainer, logits)
        trainer.evaluator.process(logits, label)
        zero_shot = F.normalize(features.global_features, dim=-1) @ trainer.text_features.T
        zero_shot_correct += int((zero_shot.argmax(1) == label).sum())
    return _results(trainer), zero_shot_correct


def _results(trainer: FrozenCLIPTrainer) -> dict[str, Any]:
    """Return what Dassl's evaluator makes of the scores; it writes cmat.pt where it is to.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        results: dict[str, Any] = trainer.evaluator.evaluate()
    except (OSError, RuntimeError) as error:  # torch.save has no error of its own
        if not trainer.cfg.TEST.COMPUTE_CMAT:
            raise
        path = Path(trainer.output_dir) / "cmat.pt"
        path.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be written ({reason}).") from error
    return results


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
