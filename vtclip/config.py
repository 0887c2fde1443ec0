"""Every configuration key beyond Dassl's, in one place, with its checks."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from vtclip.errors import UserError, unknown_name

EXTENSIONS: dict[str, Any] = {
    "DATASET": {
        # CoOp's: all, base (first half of the classes) or new (the rest)
        "SUBSAMPLE_CLASSES": "all",
        # make a random split where the official one is missing; its results compare with nobody's
        "ALLOW_RANDOM_SPLIT": False,
        # prompt template with one {}; "" takes the dataset's own
        "TEMPLATE": "",
        # file of features for DATASET.NAME FeatureBank
        "FEATURE_BANK": "",
    },
    "FEATURES": {
        # folder of the feature cache; "" is the user's cache folder
        "ROOT": "",
        "CACHE": True,
        # augmented views of each training image that are cached; 0 encodes a new view every epoch
        "VIEWS": 10,
        # precision of the frozen backbone: auto, fp32, bf16 or fp16
        "PRECISION": "fp32",
        # what identifies an image: content (its bytes) or stat (path, size and time)
        "KEY": "content",
        "COMPILE": False,
        "BATCH_SIZE": 64,
    },
    "TRAINER": {
        # evaluate a checkpoint on classes that it was not trained on (base to new, cross-dataset)
        "TRANSFER": False,
        "VTCLIP": {
            # docs/method.md says what each does and how sure its default is
            "SELF_ATTENTION": True,
            "FFN": True,
            "FFN_RATIO": 4.0,
            "N_LAYERS": 1,
            "N_HEADS": 8,
            "NORM": "post",
            "DROPOUT": 0.0,
            "VISUAL_TOKENS": "joint",
            "INCLUDE_GLOBAL": False,
            "RESIDUAL_RATIO": 1.0,
            "RESIDUAL_LEARNT": False,
            "CLIP_LOGIT_WEIGHT": 0.0,
            # choose CLIP_LOGIT_WEIGHT on the few-shot validation images
            "SEARCH_WEIGHT": False,
            "ZERO_INIT": True,
            "PROMPT": "auto",
            "MAX_PAIRS": 4096,
            # of the attention's products: fp32, amp for bf16 autocast (weights stay fp32), or auto
            # for amp where bf16 is fast
            "PREC": "fp32",
        },
        # named as in CoOp
        "COOP": {
            "N_CTX": 16,
            # words that the context starts from, in place of N_CTX random vectors
            "CTX_INIT": "",
            # one context for each class
            "CSC": False,
            "CLASS_TOKEN_POSITION": "end",
        },
        "CLIPADAPTER": {
            "REDUCTION": 4,
            # in training; validation chooses the one that is tested
            "RATIO": 0.2,
        },
        # ALPHA and BETA hold in training; validation chooses those that are tested
        "TIPADAPTER": {"AUGMENT_EPOCHS": 10, "ALPHA": 1.17, "BETA": 5.5},
        "TIPADAPTERF": {"AUGMENT_EPOCHS": 10, "ALPHA": 1.17, "BETA": 5.5},
    },
}


# keys that take one of a few values
CHOICES: dict[str, tuple[str, ...]] = {
    "DATASET.SUBSAMPLE_CLASSES": ("all", "base", "new"),
    "FEATURES.PRECISION": ("auto", "fp32", "bf16", "fp16"),
    "FEATURES.KEY": ("content", "stat"),
    "TEST.FINAL_MODEL": ("last_step", "best_val"),
    "TEST.SPLIT": ("val", "test"),
    "TRAINER.VTCLIP.NORM": ("post", "pre"),
    "TRAINER.VTCLIP.VISUAL_TOKENS": ("joint", "backbone"),
    "TRAINER.VTCLIP.PREC": ("fp32", "amp", "auto"),
    "TRAINER.VTCLIP.PROMPT": ("auto", "single", "ensemble"),
    "TRAINER.COOP.CLASS_TOKEN_POSITION": ("end", "middle", "front"),
}

# keys that take numbers of an interval, both ends included
RANGES: dict[str, tuple[float, float]] = {
    "OPTIM.LR": (1e-12, math.inf),
    "OPTIM.MAX_EPOCH": (0, math.inf),
    "DATALOADER.TRAIN_X.BATCH_SIZE": (1, math.inf),
    "DATALOADER.TEST.BATCH_SIZE": (1, math.inf),
    "FEATURES.VIEWS": (0, 1000),
    "FEATURES.BATCH_SIZE": (1, math.inf),
    "TRAINER.VTCLIP.N_LAYERS": (1, 100),
    "TRAINER.VTCLIP.N_HEADS": (1, 1000),
    "TRAINER.VTCLIP.FFN_RATIO": (0, 100),
    "TRAINER.VTCLIP.DROPOUT": (0, 0.99),
    "TRAINER.VTCLIP.CLIP_LOGIT_WEIGHT": (0, 1),
    "TRAINER.VTCLIP.MAX_PAIRS": (0, math.inf),
    "TRAINER.COOP.N_CTX": (1, 1000),
    "TRAINER.CLIPADAPTER.REDUCTION": (1, 10_000),
    "TRAINER.CLIPADAPTER.RATIO": (0, 1),
    "TRAINER.TIPADAPTER.AUGMENT_EPOCHS": (1, 1000),
    "TRAINER.TIPADAPTERF.AUGMENT_EPOCHS": (1, 1000),
    "TRAINER.TIPADAPTERF.ALPHA": (0, math.inf),
    "TRAINER.TIPADAPTERF.BETA": (1e-12, math.inf),
}


def _extend(node: CfgNode, extensions: dict[str, Any]) -> None:
    for key, value in extensions.items():
        if isinstance(value, dict):
            if key not in node:
                node[key] = CfgNode()
            _extend(node[key], value)
        elif key not in node:
            node[key] = value


def extend_cfg(cfg: CfgNode) -> None:
    """Add the keys of this project to Dassl's defaults; keys that are there stay as they are."""
    _extend(cfg, EXTENSIONS)


def flatten(node: CfgNode, prefix: str = "") -> dict[str, Any]:
    """Return the values of a configuration by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, CfgNode) else {name: value})
    return flat


def merge_file(cfg: CfgNode, path: Path, *, _parents: tuple[Path, ...] = ()) -> None:
    """Merge a YAML file into the configuration, after the files that its BASE names.

    BASE is a path, or a list of them in the order of merging, relative to the file itself.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, a value of a wrong type, or
            the file is its own BASE.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({error}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a configuration (no KEY: value lines).")
    parents = (*_parents, path.resolve())
    for base in _bases(content.pop("BASE", []), path):
        if base in parents:
            raise UserError(f"{path}: BASE leads from {base} back to itself.")
        merge_file(cfg, base, _parents=parents)
    for key, value in flatten(CfgNode(content)).items():
        _set(cfg, key, value, f"{path}: ")


def _bases(names: Any, path: Path) -> list[Path]:
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise UserError(f"{path}: BASE: takes a path or a list of paths, not {names!r}.")
    return [(path.parent / name).resolve() for name in listed]


def merge_options(cfg: CfgNode, options: Sequence[str]) -> None:
    """Merge KEY VALUE pairs of a command line into the configuration.

    Raises:
        UserError: a value is missing, a key is unknown, or a value of a wrong type.
    """
    if len(options) % 2:
        raise UserError(f"{options[-1]}: has no value; options are pairs KEY VALUE.")
    for key, value in zip(options[::2], options[1::2], strict=True):
        _set(cfg, key, value, "")


def _set(cfg: CfgNode, key: str, value: Any, source: str) -> None:
    known = flatten(cfg)
    if key not in known:
        nearest = difflib.get_close_matches(key.upper(), known, n=1, cutoff=0.0)
        raise UserError(f"{source}{key}: no such configuration key; did you mean {nearest[0]}?")
    expected = known[key]
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(expected, float):
        value = float(value)
    if isinstance(value, str) and isinstance(expected, float):
        # YAML and Python read 1e-4 as a word and a number
        with suppress(ValueError):
            value = float(value)
    try:
        cfg.merge_from_list([key, value])
    except ValueError:
        raise UserError(
            f"{source}{key}: {value!r} is of a wrong type; it takes a value such as {expected!r}."
        ) from None


def check_cfg(cfg: CfgNode) -> None:
    """Refuse values that no run can use.

    Raises:
        UserError: names the key and what it takes.
    """
    values = flatten(cfg)
    for key, choices in CHOICES.items():
        if key in values and values[key] not in choices:
            raise unknown_name(key, str(values[key]), choices)
    for key, (low, high) in RANGES.items():
        if key in values and not low <= values[key] <= high:
            raise UserError(f"{key}: {values[key]} is out of range; it goes from {low} to {high}.")


def default_method_file(folder: Path, trainer: str, backbone: str) -> Path | None:
    """Return the configuration of a trainer for a backbone that a user named without a file.

    Args:
        folder: configs/trainers.
        trainer: its name; None is returned for one that has no folder there (a plug-in's).
        backbone: its name, "" for tiny; files are named rn50.yaml, vit_b32.yaml and so on.

    Raises:
        UserError: the trainer has configurations, but none for this backbone.
    """
    if not (folder / trainer).is_dir():
        return None
    stem = (backbone or "tiny").lower().replace("-", "_").replace("/", "").replace("@", "_")
    path = folder / trainer / f"{stem}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise UserError(
            f"--backbone {backbone}: {trainer} has no configuration {path.name}; name one by "
            f"--config-file ({path.parent} has {known})."
        )
    return path
