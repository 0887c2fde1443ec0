"""Datasets by name."""

from yacs.config import CfgNode

from dassl.data.datasets.base import DatasetBase
from dassl.utils import Registry

DATASET_REGISTRY = Registry("DATASET_REGISTRY")


def build_dataset(cfg: CfgNode) -> DatasetBase:
    """Return the dataset `cfg.DATASET.NAME`, made from `cfg`.

    Raises:
        ValueError: no dataset is registered under that name.
    """
    if cfg.VERBOSE:
        print(f"Loading dataset: {cfg.DATASET.NAME}")
    dataset: DatasetBase = DATASET_REGISTRY.get(cfg.DATASET.NAME, "DATASET.NAME")(cfg)
    return dataset
