"""A problem small enough to be learnt in a second: telling red, green and blue apart."""

from pathlib import Path

import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from PIL import Image
from torch import nn
from torch.nn import functional as F

COLOURS = ("red", "green", "blue")
PER_SPLIT = 4


def write_images(root: Path) -> None:
    for split in ("train", "val", "test"):
        for label, name in enumerate(COLOURS):
            for i in range(PER_SPLIT):
                rgb = [30 + 10 * i] * 3
                rgb[label] = 220
                image = Image.new("RGB", (12, 10), tuple(rgb))
                image.save(root / f"{split}-{name}-{i}.png")


def colour_items(root: Path, split: str) -> list[Datum]:
    return [
        Datum(impath=str(root / f"{split}-{name}-{i}.png"), label=label, classname=name)
        for label, name in enumerate(COLOURS)
        for i in range(PER_SPLIT)
    ]


@DATASET_REGISTRY.register(force=True)
class Colours(DatasetBase):
    def __init__(self, cfg):
        root = Path(cfg.DATASET.ROOT)
        train, val, test = (colour_items(root, split) for split in ("train", "val", "test"))
        if "no-val" in cfg.DATASET.SOURCE_DOMAINS:
            val = []
        super().__init__(train_x=train, val=val, test=test)


@TRAINER_REGISTRY.register(force=True)
class ColourTrainer(TrainerX):
    """A linear layer on the mean colour."""

    def build_model(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, self.num_classes)
        ).to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("linear", self.model, self.optim, self.sched)

    def forward_backward(self, batch):
        image, label, _ = self.parse_batch_train(batch)
        output = self.model(image)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}


def toy_cfg(root: Path, output: Path):
    cfg = get_cfg_default()
    cfg.OUTPUT_DIR = str(output)
    cfg.VERBOSE = False
    cfg.USE_CUDA = False
    cfg.INPUT.SIZE = (8, 8)
    cfg.INPUT.TRANSFORMS = ("normalize",)
    cfg.DATASET.NAME = "Colours"
    cfg.DATASET.ROOT = str(root)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.TRAIN_X.SAMPLER = "SequentialSampler"
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 6
    cfg.TRAINER.NAME = "ColourTrainer"
    cfg.OPTIM.NAME = "sgd"
    cfg.OPTIM.LR = 0.5
    cfg.OPTIM.LR_SCHEDULER = "cosine"
    cfg.OPTIM.MAX_EPOCH = 4
    cfg.OPTIM.WARMUP_EPOCH = 1
    cfg.OPTIM.WARMUP_TYPE = "constant"
    cfg.TRAIN.PRINT_FREQ = 2
    return cfg
