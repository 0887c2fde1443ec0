"""The protocol of a method: the configuration that a run has when a user changes nothing."""

from __future__ import annotations

import os
from typing import Any

from yacs.config import CfgNode

from vtclip.config import flatten
from vtclip.config.keys import PROJECT_KEYS
from vtclip.method import MethodFacts, registered_methods

# CoOp's (arXiv 2109.01134): batches, augmentation, schedule
COMMON: dict[str, Any] = {
    "INPUT.TRANSFORMS": ("random_resized_crop", "random_flip", "normalize"),
    # CoOp's 8, where there are so many cores
    "DATALOADER.NUM_WORKERS": min(8, os.cpu_count() or 1),
    "DATALOADER.TRAIN_X.BATCH_SIZE": 32,
    "DATALOADER.TEST.BATCH_SIZE": 100,
    "OPTIM.LR_SCHEDULER": "cosine",
    "OPTIM.WARMUP_EPOCH": 1,
    "OPTIM.WARMUP_TYPE": "constant",
    "OPTIM.WARMUP_CONS_LR": 1e-5,
    # of the protocol, by dataset and shots
    "OPTIM.MAX_EPOCH": -1,
}

# keys that say where and how a run is carried out, not what is computed
WHEREABOUTS = {
    "OUTPUT_DIR", "RESUME", "SEED", "VERBOSE", "USE_CUDA", "DATASET.ROOT", "DATASET.NUM_SHOTS",
    "DATALOADER.NUM_WORKERS", "TRAIN.PRINT_FREQ", "TRAIN.CHECKPOINT_FREQ", "TRAIN.TRACK",
    "FEATURES.ROOT", "FEATURES.CACHE", "FEATURES.KEY", "FEATURES.BATCH_SIZE", "FEATURES.COMPILE",
    "INPUT.SET_BY_USER",
}  # fmt: skip

# keys that change an evaluation and not what is trained
EVALUATION_KEYS = {
    "TEST.SPLIT", "TEST.PER_CLASS_RESULT", "TEST.COMPUTE_CMAT", "TEST.EVALUATOR",
    "TRAINER.TRANSFER",
}  # fmt: skip


def protocol_values(method: type[MethodFacts], dataset: str = "") -> dict[str, Any]:
    """Return the values of a method's protocol on a dataset (DATASET.NAME) by dotted key."""
    return {**COMMON, **method.PROTOCOL, **method.PROTOCOL_ON.get(dataset, {})}


def optimizer_departures(cfg: CfgNode, method: type[MethodFacts]) -> list[str]:
    """Return a line for each key of OPTIM that is not the protocol's."""
    values = flatten(cfg)
    return [
        f"{key}: {values[key]}, where the protocol of {method.__name__} has {value}"
        for key, value in protocol_values(method, cfg.DATASET.NAME).items()
        if key.startswith("OPTIM.") and key != "OPTIM.MAX_EPOCH" and values[key] != value
    ]


def resolve_epochs(cfg: CfgNode, method: type[MethodFacts]) -> CfgNode:
    """Return the configuration with OPTIM.MAX_EPOCH -1 replaced by the epochs of the protocol.

    The number is a fact of the method, so that every command line that leads to it gives the same
    run.
    """
    if cfg.OPTIM.MAX_EPOCH >= 0:
        return cfg
    resolved = cfg.clone()
    resolved.defrost()
    resolved.OPTIM.MAX_EPOCH = method.protocol_epochs(cfg.DATASET.NAME, cfg.DATASET.NUM_SHOTS)
    resolved.freeze()
    return resolved


def run_settings(cfg: CfgNode) -> dict[str, Any]:
    """Return what decides the result of a run, by dotted key.

    Left out are folders and the like (:data:`WHEREABOUTS`), and below TRAINER the options of
    methods other than the run's; what belongs to no method is kept, for it may matter.
    """
    methods = registered_methods()
    own = methods[cfg.TRAINER.NAME].option_node() if cfg.TRAINER.NAME in methods else ""
    project = {key.split(".")[1] for key in PROJECT_KEYS if key.startswith("TRAINER.")}
    others = {method.option_node() for method in methods.values()} - {own, "NAME", *project}
    settings = {}
    for key, value in flatten(cfg).items():
        first, _, rest = key.partition(".")
        if key in WHEREABOUTS or (first == "TRAINER" and rest.split(".")[0] in others):
            continue
        settings[key] = value
    return settings


def differing_keys(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the keys whose values differ, sorted; a key that one side lacks differs.

    Lists and tuples of equal items are equal, since JSON has lists only.

    >>> differing_keys({"A": 1, "B": (1, 2)}, {"A": 2, "B": [1, 2]})
    ['A']
    """
    absent = object()
    return sorted(
        key
        for key in one.keys() | other.keys()
        if _plain(one.get(key, absent)) != _plain(other.get(key, absent))
    )


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
