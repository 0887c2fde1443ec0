"""Your own photographs: a folder of class folders, no code to write.

    my_photos/CLASS/*.jpg                          split at random, the same way every time
    my_photos/{train,test}/CLASS/*.jpg             and my_photos/val/CLASS/*.jpg where there is one
    my_photos/classnames.txt                       optional: folder, tab, class name, one a line

Class names are otherwise the folders' names (an underscore is a space in prompts).
"""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from vtclip.errors import UserError, unknown_name

from .base import ImageDataset
from .listing import image_tree, subfolders
from .sampling import random_lists
from .split import PARTS, Item, Lists
from .textfiles import read_lines

CLASSNAMES = "classnames.txt"


@DATASET_REGISTRY.register()
class ImageFolder(ImageDataset):
    """The data root itself is the dataset."""

    key = "image_folder"

    @property
    def remedy(self) -> str:
        """What to do where files are missing."""
        return "--root names a folder with one folder of images per class"

    def read(self, allow_random: bool) -> Lists:
        """Read train, val and test folders where there are, else split the class folders."""
        found = subfolders(self.root)
        parts = [part for part in PARTS if part in found]
        if not {"train", "test"} & set(parts):
            return random_lists(self._images("", self._names(found)))
        for part in ("train", "test"):
            if part not in parts:
                raise UserError(f"{self.root / part}: missing beside {parts[0]}.")
        folders = subfolders(self.root / "train")
        names = self._names(folders)
        labels = {folder: label for label, folder in enumerate(folders)}
        lists: dict[str, list[Item]] = {part: [] for part in PARTS}
        for part in parts:
            extra = sorted(set(subfolders(self.root / part)) - set(folders))
            if extra:
                raise UserError(f"{self.root / part / extra[0]}: a class that train lacks.")
            for path, name in self._images(f"{part}/", names).items():
                lists[part].append(Item(path, labels[path.split("/")[1]], name))
        return Lists(lists["train"], lists["val"], lists["test"])

    def _names(self, folders: list[str]) -> dict[str, str]:
        if not folders:
            raise UserError(f"{self.root}: has no class folders; {self.remedy}.")
        names = {folder: folder for folder in folders}
        path = self.root / CLASSNAMES
        if path.is_file():
            for number, line in enumerate(read_lines(path, self.remedy), start=1):
                folder, tab, name = line.partition("\t")
                if not tab or not name.strip():
                    raise UserError(f"{path}: line {number} is not folder, tab, class name.")
                if folder not in names:
                    raise unknown_name(f"{path}, line {number}", folder, folders)
                names[folder] = name.strip()
        if len(set(names.values())) < len(names):
            raise UserError(f"{path}: gives two folders the same class name.")
        return names

    def _images(self, part: str, names: dict[str, str]) -> dict[str, str]:
        found = {}
        for folder, name in names.items():
            path = self.root / part / folder
            images = image_tree(path, f"{part}{folder}/") if path.is_dir() else []
            if not images and part in ("", "train/"):
                raise UserError(f"{path}: has no images; add some or remove the folder.")
            found.update(dict.fromkeys(images, name))
        return found
