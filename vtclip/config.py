"""Every configuration key beyond Dassl's, in one place, with its checks."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

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
        # augmented views of each training image that are cached; 0 encodes live every epoch
        "VIEWS": 0,
        # precision of the frozen backbone: auto, fp32, bf16 or fp16
        "PRECISION": "fp32",
        # what identifies an image: content (its bytes) or stat (path, size and time)
        "KEY": "content",
        "COMPILE": False,
        "BATCH_SIZE": 64,
    },
    "TRAINER": {
        "VTCLIP": {
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
            "ZERO_INIT": True,
            "PROMPT": "single",
        },
    },
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
