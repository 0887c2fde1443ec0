"""SUN397: scenes."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .sources import split_from_drive
from .split import Sizes


@DATASET_REGISTRY.register()
class SUN397(SplitDataset):
    """Xiao et al. (2010): 397 scenes; folders nest, a/apartment_building/outdoor."""

    key = "sun397"
    dataset_dir = "sun397"
    image_dir = "SUN397"
    split_file = "split_zhou_SUN397.json"
    sizes = Sizes(15880, 3970, 19850, 397)
    sources = (
        split_from_drive("1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq", "sun397/split_zhou_SUN397.json"),
    )
    manual = (
        "The addresses at Princeton are dead. Get SUN397.tar.gz (37 GB, md5 "
        "8ca2778205c41d23104230ba66911c7a) from a colleague or a mirror and unpack it so that "
        "{root}/sun397/SUN397/a/abbey/ holds the first class."
    )

    def names_of(self, paths: list[str]) -> dict[str, str]:
        """Return the scene of each folder, without its first letter and with the place first."""
        return {path: " ".join(reversed(path.split("/")[1:-1])) for path in paths}
