"""ImageNetV2: a second test set, gathered as ImageNet's was."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from vtclip.errors import UserError

from .imagenet import ImageNetFolders, classnames_source
from .listing_cache import list_class_folders
from .sources import Archive, Remote
from .split import Item, Lists, Sizes


@DATASET_REGISTRY.register()
class ImageNetV2(ImageNetFolders):
    """Recht et al. (2019), matched frequency: folders 0 to 999 are labels, for testing only."""

    key = "imagenetv2"
    dataset_dir = "imagenetv2"
    image_dir = "imagenetv2-matched-frequency-format-val"
    sizes = Sizes(0, 0, 10000, 1000)
    sources = (
        Archive(
            Remote(
                (
                    "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/"
                    "imagenetv2-matched-frequency.tar.gz",
                    "https://s3-us-west-2.amazonaws.com/imagenetv2public/"
                    "imagenetv2-matched-frequency.tar.gz",
                ),
                "imagenetv2-matched-frequency.tar.gz",
            ),
            (
                (
                    "imagenetv2-matched-frequency-format-val",
                    "imagenetv2/imagenetv2-matched-frequency-format-val",
                ),
            ),
        ),
        classnames_source("imagenetv2"),
    )

    def read(self, allow_random: bool) -> Lists:
        """Return all images as the test list; folder N is the Nth line of classnames.txt."""
        names = list(self.read_names().values())
        folder = self.folder / self.image_dir
        if not folder.is_dir():
            raise UserError(f"{folder}: missing, the images of {self.key}; {self.remedy}.")
        listed = list_class_folders(folder)
        absent = [str(label) for label in range(len(names)) if str(label) not in listed]
        if absent:
            raise UserError(f"{folder / absent[0]}: missing, a class folder; {self.remedy}.")
        prefix = f"{self.dataset_dir}/{self.image_dir}"
        items = [
            Item(f"{prefix}/{label}/{file}", label, name)
            for label, name in enumerate(names)
            for file in listed[str(label)]
        ]
        return Lists([], [], items)
