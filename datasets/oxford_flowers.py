"""Oxford Flowers: flowers common in Britain."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from vtclip.errors import UserError
from vtclip.files import read_json

from .base import SplitDataset
from .matlab import read_variable
from .sources import Archive, Remote, split_from_drive
from .split import Sizes


@DATASET_REGISTRY.register()
class OxfordFlowers(SplitDataset):
    """Nilsback, Zisserman (2008): 102 flowers; all images are in one folder."""

    key = "oxford_flowers"
    dataset_dir = "oxford_flowers"
    image_dir = "jpg"
    split_file = "split_zhou_OxfordFlowers.json"
    sizes = Sizes(4093, 1633, 2463, 102)
    sources = (
        Archive(
            Remote(
                ("https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",),
                "102flowers.tgz",
                md5="52808999861908f626f3c1f4e79d11fa",
            ),
            (("jpg", "oxford_flowers/jpg"),),
        ),
        split_from_drive(
            "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT",
            "oxford_flowers/split_zhou_OxfordFlowers.json",
            sha256="2f50c42fc1a17ca13c271cb4269b1347bdb43d2be672e34f74a4e4cbfbcca794",
        ),
    )

    def names_of(self, paths: list[str]) -> dict[str, str]:
        """Return the flower of each image, by imagelabels.mat and cat_to_name.json.

        Raises:
            UserError: either file is missing beside the image folder, or does not fit the images.
        """
        labels = read_variable(self.folder / "imagelabels.mat", "labels")
        names = read_json(self.folder / "cat_to_name.json")
        try:
            numbers = {path: int(path.rpartition("_")[2].partition(".")[0]) for path in paths}
            return {path: str(names[str(labels[number - 1])]) for path, number in numbers.items()}
        except (LookupError, ValueError, TypeError) as error:
            raise UserError(
                f"{self.folder}: imagelabels.mat and cat_to_name.json do not fit the images in "
                f"{self.image_dir} ({error})."
            ) from error
