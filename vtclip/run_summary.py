"""The lines in which a run says what it is, and at its end what came of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from yacs.config import CfgNode

from vtclip.commands.calls import how_to_call
from vtclip.dataset_facts import SPLITS
from vtclip.results import Result
from vtclip.saved_model import MODEL_FILE

if TYPE_CHECKING:
    from vtclip.engine import FrozenCLIPTrainer

# the backbone that comes along, and datasets that it was made for, or that bring features
STAND_IN, ITS_DATASETS = "tiny", ("Digits", "FeatureBank")
# what to do with a result: commands and their arguments, with {run} for the folder of the run and
# {experiment} for that of its seeds
NEXT_COMMANDS = (
    ("predict", "{run} IMAGE"),
    ("report", "html {experiment}"),
    ("tables", "{experiment} --table"),
)
# those that need what only a training leaves
NEEDS_MODEL = ("predict",)


def opening(cfg: CfgNode, evaluated: str = "") -> list[str]:
    """Return what runs, before anything is read.

    Args:
        cfg: the configuration of the run.
        evaluated: the folder of the run that is evaluated, "" for a training.
    """
    shots = cfg.DATASET.NUM_SHOTS
    images = "all training images" if shots < 1 else f"{shots} shot{'s' if shots > 1 else ''}"
    seed = f"seed {cfg.SEED}" if cfg.SEED >= 0 else "unseeded, so not to be repeated"
    what = f"{cfg.TRAINER.NAME} on {cfg.DATASET.NAME}, {images}, {seed}"
    lines = [f"{what}; evaluation of {evaluated}" if evaluated else what]
    return [*lines, f"folder: {cfg.OUTPUT_DIR} (all details are in its log.txt)"]


def facts(trainer: FrozenCLIPTrainer) -> list[str]:
    """Return on what it runs, once its data and its backbone are there."""
    counts = ", ".join(f"{len(trainer.facts.items[split]):,} {split}" for split in SPLITS)
    where = f"backbone {trainer.provider.backbone_name} on {trainer.device.type}"
    lines = [f"{where}; {len(trainer.classnames):,} classes; images: {counts}"]
    if trainer.head is not None:
        trained = f"{trainer.trainable_parameters:,} parameters"
        lines.append(f"to train: {trained}, {trainer.max_epoch:,} epochs")
    return lines


def ending(result: Result) -> str:
    """Return what came of a run: accuracy, that of zero-shot CLIP, their difference, seconds."""
    # 0.0 takes the sign from a rounded -0.0
    gain = round(result.accuracy - result.zero_shot_accuracy, 2) + 0.0
    return (
        f"accuracy {result.accuracy:.2f} % on {result.total:,} {result.split} images; "
        f"zero-shot CLIP {result.zero_shot_accuracy:.2f} %; gain {gain:+.2f} points; "
        f"{result.seconds['total']:,.0f} s"
    )


def is_stand_in(backbone: str, dataset: str) -> bool:
    """Tell whether a backbone only stands in for one that knows the images of a dataset.

    Args:
        backbone: MODEL.BACKBONE.NAME in its registered spelling.
        dataset: DATASET.NAME.

    >>> is_stand_in("tiny", "Caltech101"), is_stand_in("tiny", "Digits")
    (True, False)
    """
    return backbone == STAND_IN and dataset not in ITS_DATASETS


def stand_in_warning(method: str) -> str:
    """Return the warning about the figures of a run for which :func:`is_stand_in` holds."""
    return (
        f"warning: backbone {STAND_IN} has never seen a photograph, so these figures say nothing "
        f"about {method}; for results that count, name one of CLIP's, such as --backbone RN50."
    )


def next_lines(run: Path, experiment: Path) -> list[str]:
    """Return the commands that go on from a result.

    Args:
        run: folder of the run.
        experiment: folder of its seeds; of a single run in a folder that a user named, the same.
    """
    names = {
        "run": shlex.quote(str(run)),
        "experiment": shlex.quote(str(experiment)),
    }
    return [
        f"next: {how_to_call(command)} {arguments.format(**names)}"
        for command, arguments in NEXT_COMMANDS
        if command not in NEEDS_MODEL or (run / MODEL_FILE).is_file()
    ]
