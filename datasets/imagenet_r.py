"""ImageNet-R: renditions, such as paintings and toys."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .imagenet import ImageNetFolders, classnames_source
from .sources import Archive, Remote
from .split import Sizes


@DATASET_REGISTRY.register()
class ImageNetR(ImageNetFolders):
    """Hendrycks et al. (2021): 200 of ImageNet's classes, for testing only."""

    key = "imagenet_r"
    dataset_dir = "imagenet-rendition"
    image_dir = "imagenet-r"
    sizes = Sizes(0, 0, 30000, 200)
    sources = (
        Archive(
            Remote(
                ("https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",),
                "imagenet-r.tar",
                md5="a61312130a589d0ca1a8fca1f2bd3337",
            ),
            (("imagenet-r", "imagenet-rendition/imagenet-r"),),
        ),
        classnames_source("imagenet-rendition"),
    )
