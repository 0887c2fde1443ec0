"""Food-101: dishes."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .sources import Archive, Remote, split_from_drive
from .split import Sizes


@DATASET_REGISTRY.register()
class Food101(SplitDataset):
    """Bossard, Guillaumin, Van Gool (2014): 101 dishes."""

    key = "food101"
    dataset_dir = "food-101"
    image_dir = "images"
    split_file = "split_zhou_Food101.json"
    sizes = Sizes(50500, 20200, 30300, 101)
    sources = (
        Archive(
            Remote(
                ("https://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
                "food-101.tar.gz",
                md5="85eeb15f3717b99a5da872d97d918f87",
            ),
            (("food-101/images", "food-101/images"),),
        ),
        split_from_drive("1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl", "food-101/split_zhou_Food101.json"),
    )
