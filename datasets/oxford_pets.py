"""Oxford-IIIT Pet: breeds of cats and dogs."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .sources import Archive, Remote, split_from_drive
from .split import Sizes


@DATASET_REGISTRY.register()
class OxfordPets(SplitDataset):
    """Parkhi et al. (2012): 37 breeds; two files named .jpg are a GIF and a PNG."""

    key = "oxford_pets"
    dataset_dir = "oxford_pets"
    image_dir = "images"
    split_file = "split_zhou_OxfordPets.json"
    sizes = Sizes(2944, 736, 3669, 37)
    sources = (
        Archive(
            Remote(
                ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",),
                "images.tar.gz",
                md5="5c4f3ee8e5d25df40f4fd59a7f44e54c",
            ),
            (("images", "oxford_pets/images"),),
        ),
        split_from_drive(
            "1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs",
            "oxford_pets/split_zhou_OxfordPets.json",
            sha256="d7f3ffe65b3919f95132e51422894ae18686b83c331fd8c0adcdc3dc2de6301e",
        ),
    )

    def names_of(self, paths: list[str]) -> dict[str, str]:
        """Return the breed in each file's name, BREED_WITH_UNDERSCORES_NUMBER.jpg."""
        return {path: path.rpartition("_")[0].lower() for path in paths}
