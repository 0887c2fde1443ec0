"""Batches of a list of images."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from yacs.config import CfgNode

from dassl.data.datasets import Datum
from dassl.data.samplers import build_sampler
from dassl.data.transforms.types import Transform
from dassl.data.wrapper import DatasetWrapper
from dassl.utils.checks import check_whole

Loader = DataLoader[dict[str, Any]]


def build_data_loader(
    cfg: CfgNode,
    sampler_type: str = "SequentialSampler",
    data_source: Sequence[Datum] = (),
    batch_size: int = 32,
    n_domain: int = 0,
    n_ins: int = 16,
    tfm: Transform | Sequence[Transform] | None = None,
    is_train: bool = True,
    dataset_wrapper: Callable[..., Dataset[dict[str, Any]]] | None = None,
) -> Loader:
    """Return a loader of batches `{img, label, domain, impath, index}`.

    Args:
        cfg: the configuration; its DATALOADER node and USE_CUDA are read.
        sampler_type: name of a sampler, see `build_sampler`.
        data_source: the images.
        batch_size: images per batch. In training, the last batch is dropped where it is not full,
            unless there are fewer than `batch_size` images in all.
        n_domain: kept for plug-ins that pass it; no sampler here looks at domains.
        n_ins: items of one class in a batch, for RandomClassSampler.
        tfm: a transform, or several, see `DatasetWrapper`.
        is_train: whether for training.
        dataset_wrapper: what to use instead of `DatasetWrapper`.

    Raises:
        ValueError: there are no images, no such sampler, or a number out of range.
    """
    if not data_source:
        raise ValueError("there are no images to load")
    check_whole(batch_size, "BATCH_SIZE", low=1)
    check_whole(cfg.DATALOADER.NUM_WORKERS, "DATALOADER.NUM_WORKERS")
    wrapper = dataset_wrapper or DatasetWrapper
    return DataLoader(
        wrapper(cfg, data_source, transform=tfm, is_train=is_train),
        batch_size=batch_size,
        sampler=build_sampler(sampler_type, data_source, batch_size, n_ins),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=cfg.USE_CUDA and torch.cuda.is_available(),
    )
