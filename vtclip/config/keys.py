"""Every configuration key that is not a method's own, with its type, range or choices.

The keys of a method stand in its class (:class:`vtclip.method.MethodFacts`). The type of a key is
that of its default; numbers are finite. PROJECT_KEYS are added to Dassl's; DASSL_KEYS limits
what Dassl's own take.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vtclip.errors import shortened

# a larger one becomes no float, and one of 4300 digits no text either
LARGEST_INTEGER = 10**300


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The values that a configuration key takes.

    Attributes:
        low, high: bounds of a number, or of each number of a list; both included.
        above: a bound that is not included itself.
        choices: the names that a text, or each text of a list, is one of; empty for any.

    >>> Domain(low=0, high=1).problem(1.5)
    '1.5 is out of range; it goes from 0 to 1'
    >>> Domain(above=0).problem(0.0)
    '0.0 is out of range; it goes from above 0 to any number'
    >>> Domain(choices=("post", "pre")).problem("pre")
    ''
    """

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    choices: tuple[str, ...] = ()

    def problem(self, value: Any) -> str:
        """Return what is wrong with `value`, "" if nothing is; unknown names are not judged."""
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        for number in values:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if isinstance(number, int) and abs(number) > LARGEST_INTEGER:
                return "a whole number of more than 300 digits"
            if not math.isfinite(number):
                return f"{shortened(str(value))} is not a finite number"
            if not (self.low <= number <= self.high and number > self.above):
                shown = shortened(str(value))
                return f"{shown} is out of range; it goes from {self._lower} to {self._upper}"
        return ""

    @property
    def _lower(self) -> str:
        if self.above > -math.inf:
            return f"above {self.above:g}"
        return f"{self.low:g}" if self.low > -math.inf else "any number"

    @property
    def _upper(self) -> str:
        return f"{self.high:g}" if self.high < math.inf else "any number"


@dataclass(frozen=True)
class Option(Domain):
    """A configuration key: its default, its meaning and the values that it takes.

    >>> Option(0.5, "share of the images", low=0, high=1).problem(0.7)
    ''
    """

    default: Any
    meaning: str


# one million epochs or images per batch are a slip of the finger, and 2**32 is NumPy's largest seed
MANY = 1_000_000
PROBABILITY = Domain(low=0, high=1)
POSITIVE = Domain(above=0)
NOT_NEGATIVE = Domain(low=0)
COUNT = Domain(low=1, high=MANY)
COUNT_OR_NONE = Domain(low=0, high=MANY)

# it stands in the name of a folder and of a row
RECIPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,29}")

PROJECT_KEYS: dict[str, Option] = {
    "DATASET.SUBSAMPLE_CLASSES": Option(
        "all",
        "CoOp's: all, base (the first half of the classes) or new (the rest)",
        choices=("all", "base", "new"),
    ),
    "DATASET.ALLOW_RANDOM_SPLIT": Option(
        False, "make a random split where the official one is missing; not comparable"
    ),
    "DATASET.TEMPLATE": Option("", "prompt template with one {}; empty: the dataset's own"),
    "DATASET.FEATURE_BANK": Option("", "file of features for DATASET.NAME FeatureBank"),
    "INPUT.SET_BY_USER": Option(
        (),
        "keys of INPUT that override the preprocessing of the backbone; train.py fills it in",
        choices=("SIZE", "INTERPOLATION", "PIXEL_MEAN", "PIXEL_STD"),
    ),
    "MODEL.BACKBONE.ACTIVATION": Option(
        "auto",
        "of a CLIP's Transformer: quick_gelu (OpenAI's), gelu, or auto",
        choices=("auto", "quick_gelu", "gelu"),
    ),
    "FEATURES.ROOT": Option("", "folder of the feature cache; empty: the user's cache folder"),
    "FEATURES.CACHE": Option(True, "keep the features of images on disk"),
    "FEATURES.VIEWS": Option(
        10,
        "augmented views of each training image that are cached; 0 encodes anew every epoch",
        low=0,
        high=1000,
    ),
    "FEATURES.PRECISION": Option(
        "auto",
        "of the frozen backbone; auto: fp16 on CUDA, bf16 where the CPU has it, fp32 elsewhere "
        "and for small backbones",
        choices=("auto", "fp32", "bf16", "fp16"),
    ),
    "FEATURES.KEY": Option(
        "content",
        "what identifies an image: its bytes, or stat (path, size and time)",
        choices=("content", "stat"),
    ),
    "FEATURES.COMPILE": Option(False, "encode through torch.compile"),
    "FEATURES.BATCH_SIZE": Option(64, "images encoded at once", low=1, high=MANY),
    "TRAIN.TRACK": Option(
        "tensorboard",
        "what takes the scalars of a run: tensorboard, csv (scalars.csv in its folder), wandb or "
        "trackio where installed, or none",
        choices=("tensorboard", "csv", "wandb", "trackio", "none"),
    ),
    "TRAINER.PROMPT": Option(
        "auto",
        "prompts of any method: ensemble, single (the dataset's template), or auto: as the method "
        "was published",
        choices=("auto", "single", "ensemble"),
    ),
    "TRAINER.RECIPE": Option(
        "",
        "name of a configuration of the method other than the published one; a configuration file "
        "names itself by it, in the folders and in the tables; empty: the published one",
    ),
    "TRAINER.TRANSFER": Option(
        False, "evaluate a checkpoint on classes that it was not trained on"
    ),
}

OPTIMIZERS = ("adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw")
SCHEDULERS = ("single_step", "multi_step", "cosine")
TRANSFORMS = (
    "random_flip", "random_resized_crop", "normalize", "instance_norm", "random_crop",
    "random_translation", "center_crop", "cutout", "imagenet_policy", "cifar10_policy",
    "svhn_policy", "randaugment", "gaussian_noise",
    "colorjitter", "randomgrayscale", "gaussian_blur",
)  # fmt: skip

DASSL_KEYS: dict[str, Domain] = {
    # NumPy takes seeds of 32 bits; -1 leaves the generators unseeded
    "SEED": Domain(low=-1, high=2**32 - 1),
    "INPUT.SIZE": Domain(low=1, high=10_000),
    "INPUT.INTERPOLATION": Domain(choices=("bilinear", "bicubic", "nearest")),
    "INPUT.TRANSFORMS": Domain(choices=TRANSFORMS),
    "INPUT.PIXEL_STD": POSITIVE,
    "INPUT.CROP_PADDING": Domain(low=0, high=10_000),
    "INPUT.RRCROP_SCALE": Domain(above=0, high=1),
    "INPUT.COLORJITTER_B": NOT_NEGATIVE,
    "INPUT.COLORJITTER_C": NOT_NEGATIVE,
    "INPUT.COLORJITTER_S": NOT_NEGATIVE,
    "INPUT.COLORJITTER_H": Domain(low=0, high=0.5),
    "INPUT.RGS_P": PROBABILITY,
    "INPUT.GB_P": PROBABILITY,
    "INPUT.GB_K": Domain(low=1, high=10_000),
    "INPUT.GN_STD": NOT_NEGATIVE,
    "INPUT.RANDAUGMENT_N": Domain(low=0, high=1000),
    "INPUT.RANDAUGMENT_M": Domain(low=0, high=30),
    "INPUT.CUTOUT_N": Domain(low=0, high=1000),
    "INPUT.CUTOUT_LEN": Domain(low=1, high=10_000),
    "DATASET.NUM_SHOTS": Domain(low=-1, high=MANY),
    "DATASET.NUM_LABELED": Domain(low=-1, high=MANY),
    "DATASET.VAL_PERCENT": Domain(above=0, high=1),
    "DATALOADER.NUM_WORKERS": Domain(low=0, high=1024),
    "DATALOADER.K_TRANSFORMS": COUNT,
    "DATALOADER.TRAIN_X.BATCH_SIZE": COUNT,
    "DATALOADER.TRAIN_X.SAMPLER": Domain(choices=("RandomSampler",)),
    "DATALOADER.TEST.BATCH_SIZE": COUNT,
    "DATALOADER.TEST.SAMPLER": Domain(choices=("SequentialSampler",)),
    "OPTIM.NAME": Domain(choices=OPTIMIZERS),
    "OPTIM.LR": POSITIVE,
    "OPTIM.WEIGHT_DECAY": NOT_NEGATIVE,
    "OPTIM.MOMENTUM": PROBABILITY,
    "OPTIM.SGD_DAMPNING": PROBABILITY,
    "OPTIM.RMSPROP_ALPHA": Domain(low=0, high=1),
    "OPTIM.ADAM_BETA1": Domain(low=0, high=0.9999999),
    "OPTIM.ADAM_BETA2": Domain(low=0, high=0.9999999),
    "OPTIM.BASE_LR_MULT": NOT_NEGATIVE,
    "OPTIM.LR_SCHEDULER": Domain(choices=SCHEDULERS),
    "OPTIM.GAMMA": NOT_NEGATIVE,
    # -1: the epochs of the method's protocol for this dataset and these shots
    "OPTIM.MAX_EPOCH": Domain(low=-1, high=MANY),
    "OPTIM.STEPSIZE": Domain(low=-1, high=MANY),
    "OPTIM.WARMUP_EPOCH": Domain(low=-1, high=MANY),
    "OPTIM.WARMUP_TYPE": Domain(choices=("constant", "linear")),
    "OPTIM.WARMUP_CONS_LR": NOT_NEGATIVE,
    "OPTIM.WARMUP_MIN_LR": NOT_NEGATIVE,
    "TRAIN.CHECKPOINT_FREQ": COUNT_OR_NONE,
    "TRAIN.PRINT_FREQ": COUNT,
    "TRAIN.COUNT_ITER": Domain(choices=("train_x", "train_u", "smaller_one")),
    "TEST.EVALUATOR": Domain(choices=("Classification",)),
    "TEST.SPLIT": Domain(choices=("val", "test")),
    "TEST.FINAL_MODEL": Domain(choices=("last_step", "best_val")),
}

# Dassl's keys that no method here looks at, though a run of other programs depends on them
UNUSED: dict[str, str] = {
    "MODEL.INIT_WEIGHTS": "no method starts from it; --eval-only --model-dir evaluates a run",
    "OPTIM.STAGED_LR": "all that a method trains has one rate; leave it False",
}

# keys that hold a path, in which ~ is the user's home
PATH_KEYS = ("OUTPUT_DIR", "RESUME", "DATASET.ROOT", "DATASET.FEATURE_BANK", "FEATURES.ROOT")

# keys of earlier versions, and what took their place
RENAMED: dict[str, str] = {"TRAINER.VTCLIP.PROMPT": "TRAINER.PROMPT"}
