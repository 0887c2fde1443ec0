"""Caltech101: objects."""

from __future__ import annotations

from typing import ClassVar

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .sources import Archive, Remote, split_from_drive
from .split import Sizes


@DATASET_REGISTRY.register()
class Caltech101(SplitDataset):
    """Fei-Fei, Fergus, Perona (2004): 100 classes of objects; the two face folders are one."""

    key = "caltech101"
    dataset_dir = "caltech-101"
    image_dir = "101_ObjectCategories"
    split_file = "split_zhou_Caltech101.json"
    sizes = Sizes(4128, 1649, 2465, 100)
    folder_names: ClassVar[dict[str, str | None]] = {
        "airplanes": "airplane",
        "Faces": "face",
        "Leopards": "leopard",
        "Motorbikes": "motorbike",
        "BACKGROUND_Google": None,
        "Faces_easy": None,
    }
    sources = (
        Archive(
            Remote(
                ("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
                "caltech-101.zip",
                md5="3138e1922a9193bfa496528edbbc45d0",
            ),
            (("101_ObjectCategories", "caltech-101/101_ObjectCategories"),),
            inner="caltech-101/101_ObjectCategories.tar.gz",
        ),
        split_from_drive(
            "1hyarUivQE36mY6jSomru6Fjd-JzwcCzN",
            "caltech-101/split_zhou_Caltech101.json",
            sha256="52ce83205ff8ff8a1a18119aad6376120ae35c36e783a984bc560cbf10e73fa5",
        ),
    )
