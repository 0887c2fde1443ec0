"""What the `dassl` on the path does, as JSON: `python dassl_record.py > record.json`.

Run with Dassl.pytorch and with the stand-in, the two records have to be the same, but
for what `test_as_dassl.py` lists. Keys say what was
done, values are digests of tensors, learning rates or lists of indices.
"""

import contextlib
import hashlib
import itertools
import json
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.optim.lr_scheduler import LRScheduler

# Dassl.pytorch uses two things that current numpy and PyTorch no longer have.
np.int = int
_init = LRScheduler.__init__
LRScheduler.__init__ = lambda self, optimizer, last_epoch=-1, *_, **__: _init(
    self, optimizer, last_epoch
)

from dassl.config import get_cfg_default  # noqa: E402
from dassl.data import DataManager  # noqa: E402
from dassl.data.datasets import Datum  # noqa: E402
from dassl.data.transforms import build_transform  # noqa: E402
from dassl.optim import build_lr_scheduler, build_optimizer  # noqa: E402

# not in `dassl.data` of Dassl.pytorch
build_data_loader = sys.modules[DataManager.__module__].build_data_loader

IMAGES = 60
ALONE = (
    "random_flip",
    "random_resized_crop",
    "random_crop",
    "random_translation",
    "center_crop",
    "normalize",
    "instance_norm",
    "colorjitter",
    "randomgrayscale",
    "gaussian_blur",
    "gaussian_noise",
    "cutout",
    "randaugment",
    "imagenet_policy",
    "cifar10_policy",
    "svhn_policy",
)
TOGETHER = (
    (),
    ("random_flip", "random_resized_crop", "normalize"),
    ("normalize", "random_flip", "random_crop"),
    ("random_flip", "random_translation", "normalize", "cutout"),
    ("cutout", "normalize", "gaussian_noise", "random_flip", "random_translation", "random_crop"),
    ("gaussian_blur", "randomgrayscale", "colorjitter", "random_flip", "random_resized_crop"),
    ("instance_norm", "gaussian_noise", "normalize", "cutout"),
)
# edges, and values of the INPUT node that are not the defaults
SETTINGS = (
    ((32, 32), {}),
    (
        (30, 44),
        {
            "INTERPOLATION": "bicubic",
            "CROP_PADDING": 3,
            "CUTOUT_N": 2,
            "CUTOUT_LEN": 7,
            "RANDAUGMENT_N": 3,
            "RANDAUGMENT_M": 17,
            "GB_K": 5,
            "GN_MEAN": 0.1,
            "GN_STD": 0.3,
        },
    ),
)


def seed(value):
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def digest(tensor):
    array = tensor.contiguous().numpy()
    return hashlib.sha256(str((array.shape, array.dtype)).encode() + array.tobytes()).hexdigest()


def image(index):
    """Return smooth colours under noise, each image of another size."""
    generator = np.random.default_rng(index)
    height, width = generator.integers(44, 90, 2)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((int(width), int(height)), Image.Resampling.BICUBIC))
    noise = generator.integers(-20, 21, smooth.shape)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


def cfg_of(size, values):
    cfg = get_cfg_default()
    cfg.VERBOSE = False
    cfg.USE_CUDA = False
    cfg.INPUT.SIZE = size
    cfg.DATALOADER.NUM_WORKERS = 0
    for key, value in values.items():
        cfg.INPUT[key] = value
    return cfg


def transforms():
    for (size, values), training in itertools.product(SETTINGS, (True, False)):
        cfg = cfg_of(size, values)
        for names in [*((name,) for name in ALONE), *TOGETHER]:
            cfg.INPUT.TRANSFORMS = names
            kind = "train" if training else "test"
            key = f"{kind} {size[0]}x{size[1]} {'+'.join(names) or 'nothing'}"
            transform = build_transform(cfg, is_train=training)
            found = []
            for index in range(IMAGES):
                seed(index)
                found.append(digest(transform(image(index))))
            yield key, found


def schedules():
    for scheduler, steps in (
        ("cosine", (-1,)),
        ("single_step", (-1,)),
        ("single_step", (3,)),
        ("multi_step", (2, 5, 7)),
    ):
        for warmup, kind, recount in itertools.product(
            (-1, 1, 2, 4), ("constant", "linear"), (True, False)
        ):
            node = get_cfg_default().OPTIM
            node.LR = 0.02
            node.MAX_EPOCH = 9
            node.LR_SCHEDULER = scheduler
            node.STEPSIZE = steps
            node.WARMUP_EPOCH = warmup
            node.WARMUP_TYPE = kind
            node.WARMUP_RECOUNT = recount
            optimizer = build_optimizer(torch.nn.Linear(2, 2), node)
            schedule = build_lr_scheduler(optimizer, node)
            rates = []
            for _ in range(9):
                rates.append(float(optimizer.param_groups[0]["lr"]))
                optimizer.step()
                schedule.step()
            yield f"{scheduler} {steps} warm-up {warmup} {kind} recount {recount}", rates


def loaders(folder):
    items = []
    for index in range(26):
        path = Path(folder, f"{index}.png")
        image(index).save(path)
        items.append(Datum(impath=str(path), label=index % 4, domain=0, classname=str(index % 4)))
    cfg = cfg_of((16, 16), {"TRANSFORMS": ("random_flip", "random_resized_crop", "normalize")})
    for sampler, size, training in itertools.product(
        ("RandomSampler", "SequentialSampler", "RandomClassSampler"), (8, 32), (True, False)
    ):
        if sampler == "RandomClassSampler" and size == 32:
            continue
        seed(size)
        loader = build_data_loader(
            cfg,
            sampler_type=sampler,
            data_source=items,
            batch_size=size,
            n_ins=2,
            tfm=build_transform(cfg, is_train=training),
            is_train=training,
        )
        epochs = []
        for _ in range(3):
            for batch in loader:
                names = [int(Path(path).stem) for path in batch["impath"]]
                epochs.append([names, batch["label"].tolist(), digest(batch["img"])])
        yield f"{sampler} {size} {'train' if training else 'test'}", epochs


def main():
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        record = {
            "transforms": dict(transforms()),
            "schedules": dict(schedules()),
            "loaders": dict(loaders(folder)),
        }
    json.dump(record, sys.stdout)


if __name__ == "__main__":
    main()
