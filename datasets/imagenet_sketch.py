"""ImageNet-Sketch: drawings in black and white."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .imagenet import ImageNetFolders, classnames_source
from .sources import Archive, Remote, drive
from .split import Sizes


@DATASET_REGISTRY.register()
class ImageNetSketch(ImageNetFolders):
    """Wang et al. (2019): ImageNet's 1,000 classes, for testing only."""

    key = "imagenet_sketch"
    dataset_dir = "imagenet-sketch"
    image_dir = "images"
    sizes = Sizes(0, 0, 50889, 1000)
    sources = (
        Archive(
            Remote((drive("1Mj0i5HBthqH1p_yeXzsg22gZduvgoNeA"),), "ImageNet-Sketch.zip"),
            (("sketch", "imagenet-sketch/images"),),
        ),
        classnames_source("imagenet-sketch"),
    )
