"""Scores of a whole split: the method's, and zero-shot CLIP's beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional as F

from vtclip.calibration import fit_temperature
from vtclip.errors import UserError
from vtclip.overlap import describe_overlap
from vtclip.predictions import PredictionLog, Predictions
from vtclip.results import Temperature
from vtclip.screen import Countable, counted
from vtclip.threads import ThreadsByWork

if TYPE_CHECKING:
    from vtclip.engine import FrozenCLIPTrainer

# no weight of a head that has learned anything is near it
DIVERGED = 1e4


def evaluate(
    trainer: FrozenCLIPTrainer, loader: Countable[Any], temperature: float | None = None
) -> tuple[dict[str, Any], Predictions]:
    """Score the batches of a split.

    Args:
        trainer: in evaluation mode.
        loader: the batches.
        temperature: of a second set of probabilities, None for none.

    Returns:
        What Dassl's evaluator makes of them, and the predictions.

    Raises:
        UserError: a score is not finite, so that no accuracy can be told.
    """
    trainer.evaluator.reset()
    log = PredictionLog(temperature)
    threads = ThreadsByWork()
    for batch in counted(loader, "testing", "batches"):
        features, label = trainer.parse_batch_train(batch)
        with threads():
            logits = trainer.logits(features)
        check_finite(trainer, logits)
        trainer.evaluator.process(logits, label)
        zero_shot = F.normalize(features.global_features, dim=-1) @ trainer.text_features.T
        log.add(logits, label, zero_shot)
    return _results(trainer), log.predictions()


def temperature_of_run(trainer: FrozenCLIPTrainer, split: str) -> Temperature:
    """Return the temperature that validation images give a method; test images have no part in it.

    An evaluation takes over that of the run it evaluates, as it does what was searched. Validation
    images that cannot be read cost the run its temperature, not its result.

    Args:
        trainer: in evaluation mode, after its search.
        split: the one to be tested.

    Returns:
        Without the scores of the split (see :func:`scaled`); with a reason where there is none.
    """
    recalled = trainer.recalled_temperature
    if recalled is not None and recalled.value is not None and split == "test":
        return Temperature(recalled.value, recalled.images)
    if reason := _no_validation(trainer, split):
        return Temperature(reason=reason)
    try:
        logits, labels = trainer.scores("val", trainer.logits)
    except UserError as error:
        return Temperature(reason=str(error))
    images = len(labels)
    if not logits.isfinite().all():
        return Temperature(
            None, images, reason="the scores of the validation images are not finite"
        )
    value = fit_temperature(logits, labels)
    if value is None:
        return Temperature(
            None, images, reason="no best one: the validation images are all right, or as by chance"
        )
    return Temperature(value, images)


def scaled(temperature: Temperature, predictions: Predictions) -> Temperature:
    """Return a temperature with the scores of predictions that were made at it."""
    scores = predictions.scaled_calibration()
    return temperature if scores is None else replace(temperature, ece=scores[0], nll=scores[1])


def _no_validation(trainer: FrozenCLIPTrainer, split: str) -> str:
    """Return why no temperature can be fitted, "" where it can."""
    if not trainer.uses_shots:
        return f"{trainer.cfg.TRAINER.NAME} uses no few-shot images"
    if trainer.cfg.TRAINER.TRANSFER:
        return "the validation images are of other classes than those trained on"
    if split == "val":
        return "the validation images are those tested"
    if not trainer.facts.items["val"]:
        return "no validation images"
    return describe_overlap(trainer.overlap["val"], "val", "test")


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
        UserError: names what is at fault, the training or the scores themselves.
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
    largest = max((weight.abs().max().item() for weight in weights if weight.numel()), default=0.0)
    if largest > DIVERGED:
        raise UserError(
            f"{name}: its trained weights have grown to {largest:.1e}, so its scores are not "
            f"finite; train with an OPTIM.LR below {trainer.cfg.OPTIM.LR}."
        )
    raise UserError(
        f"{name}: its scores are not finite, though its weights are; check "
        f"TRAINER.{trainer.option_node()} and the features."
    )
