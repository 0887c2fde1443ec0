"""EuroSAT: land use seen from the Sentinel-2 satellite."""

from __future__ import annotations

from typing import ClassVar

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .sources import Archive, Remote, split_from_drive
from .split import Sizes


@DATASET_REGISTRY.register()
class EuroSAT(SplitDataset):
    """Helber et al. (2019): ten classes of land use."""

    key = "eurosat"
    dataset_dir = "eurosat"
    image_dir = "2750"
    split_file = "split_zhou_EuroSAT.json"
    sizes = Sizes(13500, 5400, 8100, 10)
    sources = (
        Archive(
            Remote(
                (
                    "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                    "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                    "http://madm.dfki.de/files/sentinel/EuroSAT.zip",
                ),
                "EuroSAT.zip",
                md5="c8fa014336c82ac7804f0398fcb19387",
            ),
            (("2750", "eurosat/2750"),),
        ),
        split_from_drive(
            "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o",
            "eurosat/split_zhou_EuroSAT.json",
            sha256="541503a77d0b26b735d85ec7a3e672804fe0aa466c2e5f07da772cc6c0af8ad2",
        ),
    )
    folder_names: ClassVar[dict[str, str | None]] = {
        "AnnualCrop": "Annual Crop Land",
        "HerbaceousVegetation": "Herbaceous Vegetation Land",
        "Highway": "Highway or Road",
        "Industrial": "Industrial Buildings",
        "Pasture": "Pasture Land",
        "PermanentCrop": "Permanent Crop Land",
        "Residential": "Residential Buildings",
        "SeaLake": "Sea or Lake",
    }
