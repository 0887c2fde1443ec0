"""UCF101: actions, the middle frame of each video."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .sources import Archive, Remote, drive, split_from_drive
from .split import Sizes


@DATASET_REGISTRY.register()
class UCF101(SplitDataset):
    """Soomro, Zamir, Shah (2012): 101 actions; class names keep their underscores."""

    key = "ucf101"
    dataset_dir = "ucf101"
    image_dir = "UCF-101-midframes"
    split_file = "split_zhou_UCF101.json"
    sizes = Sizes(7639, 1898, 3783, 101)
    sources = (
        Archive(
            Remote((drive("10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O"),), "UCF-101-midframes.zip"),
            (("UCF-101-midframes", "ucf101/UCF-101-midframes"),),
        ),
        split_from_drive(
            "1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y",
            "ucf101/split_zhou_UCF101.json",
            sha256="d78cb834f7c5792ceaff2c5ee2d7c76a9e4086e48a3a6b01232989d29cbefdd8",
        ),
    )
