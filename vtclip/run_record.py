"""What a run leaves behind beside its weights: result.json, config.yaml, few_shot_list.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dassl

from vtclip import __version__
from vtclip.evaluation import scaled
from vtclip.files import write_json, write_text
from vtclip.predictions import Predictions, class_keys, write_predictions
from vtclip.protocol import run_settings
from vtclip.provenance import peak_memory_mib, settings_digest, versions
from vtclip.results import SELECTED_LAST, SELECTED_NOTHING, SELECTED_VAL, Result, Temperature
from vtclip.run_folder import run_identity

if TYPE_CHECKING:
    from vtclip.engine import FrozenCLIPTrainer


def record_of_run(
    trainer: FrozenCLIPTrainer,
    split: str,
    results: Mapping[str, Any],
    predictions: Predictions,
    temperature: Temperature,
) -> Result:
    """Return the result of a run that has just been tested.

    Args:
        trainer: after the test.
        split: the split that was tested.
        results: of Dassl's evaluator.
        predictions: of all images of the split.
        temperature: the one of `predictions.scaled_logs`, or the reason why there is none.
    """
    cfg = trainer.cfg
    total = len(trainer.facts.items[split])
    accuracy = float(results["accuracy"])
    settings = run_settings(cfg)
    ece, nll = predictions.calibration()
    return Result(
        trainer=cfg.TRAINER.NAME,
        dataset=cfg.DATASET.NAME,
        shots=cfg.DATASET.NUM_SHOTS if trainer.uses_shots else 0,
        seed=cfg.SEED,
        split=split,
        classes=cfg.DATASET.SUBSAMPLE_CLASSES,
        accuracy=accuracy,
        macro_f1=float(results["macro_f1"]),
        correct=round(accuracy * total / 100),
        total=total,
        zero_shot_accuracy=predictions.zero_shot_accuracy,
        backbone=trainer.provider.backbone_name,
        backbone_fingerprint=trainer.provider.fingerprint,
        templates=list(trainer.templates),
        list_digest=list_digests(trainer),
        comparable=trainer.facts.comparable,
        selected_on=_selected_on(trainer),
        search=trainer.search_result,
        trainable_parameters=trainer.trainable_parameters,
        epochs=trainer.max_epoch,
        config_digest=settings_digest(settings),
        device=trainer.device.type,
        seconds=trainer.stopwatch.seconds(),
        peak_memory_mib=round(peak_memory_mib(trainer.device), 1),
        versions=versions(vtclip=__version__, dassl=str(getattr(dassl, "__version__", "?"))),
        settings=settings,
        dataset_root=str(trainer.facts.root),
        evaluated=trainer.evaluated,
        per_class=predictions.per_class(class_keys(trainer.classnames)),
        overlap={split: len(pairs) for split, pairs in trainer.overlap.items()},
        ece=ece,
        nll=nll,
        temperature=scaled(temperature, predictions),
    )


def identity_of_run(trainer: FrozenCLIPTrainer) -> dict[str, Any]:
    """Return what tells this run from others (see :func:`vtclip.run_folder.run_identity`)."""
    cfg = trainer.cfg
    return run_identity(
        settings=run_settings(cfg),
        seed=cfg.SEED,
        shots=cfg.DATASET.NUM_SHOTS if trainer.uses_shots else 0,
        dataset_root=str(trainer.facts.root),
        list_digest=list_digests(trainer),
        fingerprint=trainer.provider.fingerprint,
        evaluated=trainer.evaluated,
    )


def list_digests(trainer: FrozenCLIPTrainer) -> dict[str, str]:
    """Return the digests of the few-shot lists, "" for lists that the method does not read."""
    digests = trainer.facts.list_digests()
    return digests if trainer.uses_shots else dict.fromkeys(digests, "")


def write_run_files(trainer: FrozenCLIPTrainer) -> None:
    """Write config.yaml and few_shot_list.json."""
    folder = Path(trainer.output_dir)
    write_text(folder / "config.yaml", trainer.cfg.dump())
    lists = {"digest": trainer.facts.list_digests(), **trainer.facts.few_shot_lists}
    write_json(folder / "few_shot_list.json", lists)


def write_predictions_of_run(
    trainer: FrozenCLIPTrainer, split: str, predictions: Predictions
) -> None:
    """Write predictions.csv, where the run has a folder."""
    if trainer.output_dir:
        names = class_keys(trainer.classnames)
        folder = Path(trainer.output_dir)
        write_predictions(folder, predictions, trainer.facts.paths(split), names)


def calibration_lines(result: Result) -> str:
    """Return what a log says of the probabilities of a run, in the manner of Dassl's results."""
    lines = [f"* ece: {result.ece:.2f}%", f"* nll: {result.nll:.4f}"]
    if (found := result.temperature) is not None:
        lines.append(
            f"* no temperature: {found.reason}"
            if found.value is None
            else f"* temperature: {found.value:.3f}, of {found.images:,} val images; with it ece "
            f"{found.ece:.2f}%, nll {found.nll:.4f}"
        )
    return "\n".join(lines)


def _selected_on(trainer: FrozenCLIPTrainer) -> str:
    by_epoch = trainer.head is not None and trainer.cfg.TEST.FINAL_MODEL == "best_val"
    if trainer.search_result is not None or by_epoch:
        return SELECTED_VAL
    return SELECTED_LAST if trainer.head is not None else SELECTED_NOTHING
