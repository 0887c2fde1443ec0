"""Describable Textures: patterns named by adjectives."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .sources import Archive, Remote, split_from_drive
from .split import Sizes


@DATASET_REGISTRY.register()
class DescribableTextures(SplitDataset):
    """Cimpoi et al. (2014): 47 textures."""

    key = "dtd"
    dataset_dir = "dtd"
    image_dir = "images"
    split_file = "split_zhou_DescribableTextures.json"
    sizes = Sizes(2820, 1128, 1692, 47)
    sources = (
        Archive(
            Remote(
                ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
                "dtd-r1.0.1.tar.gz",
                md5="fff73e5086ae6bdbea199a49dfb8a4c1",
            ),
            (("dtd/images", "dtd/images"),),
        ),
        split_from_drive(
            "1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x",
            "dtd/split_zhou_DescribableTextures.json",
            sha256="f26ebeccd2b58e68d70f07a0dc39fe49bf7b69024bac34396b954dfd87969c38",
        ),
    )
