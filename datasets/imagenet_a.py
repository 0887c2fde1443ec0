"""ImageNet-A: natural photographs that fool classifiers."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .imagenet import ImageNetFolders, classnames_source
from .sources import Archive, Remote
from .split import Sizes


@DATASET_REGISTRY.register()
class ImageNetA(ImageNetFolders):
    """Hendrycks et al. (2021): 200 of ImageNet's classes, for testing only."""

    key = "imagenet_a"
    dataset_dir = "imagenet-adversarial"
    image_dir = "imagenet-a"
    sizes = Sizes(0, 0, 7500, 200)
    sources = (
        Archive(
            Remote(
                ("https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",),
                "imagenet-a.tar",
                md5="c3e55429088dc681f30d81f4726b6595",
            ),
            (("imagenet-a", "imagenet-adversarial/imagenet-a"),),
        ),
        classnames_source("imagenet-adversarial"),
    )
