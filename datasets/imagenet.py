"""ImageNet, and what its variants share: class names and folders of classes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY

from vtclip.errors import UserError
from vtclip.screen import say

from .base import ImageDataset
from .listing_cache import list_class_folders
from .sources import Remote, Single, drive
from .split import Item, Lists, Sizes
from .textfiles import read_lines

CLASSNAMES = "classnames.txt"
WNID = re.compile(r"n\d{8}")
# of CLIP's own list in its order, one name a line; other lists in circulation score differently
CLIP_NAMES_SHA256 = "571ae1c583b4be7da87519494c52bf405a46af05d5815627c7a0dee997068b60"


def classnames_source(target: str) -> Single:
    """Return the source of classnames.txt for the dataset folder `target`."""
    remote = Remote((drive("1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF"),), CLASSNAMES)
    return Single(remote, f"{target}/{CLASSNAMES}", check_classnames)


def check_classnames(path: Path) -> None:
    """Check that a file has the names of 1,000 folders.

    Raises:
        UserError: it has not.
    """
    names = parse_classnames(path, "fetch it again")
    wrong = next((folder for folder in names if not WNID.fullmatch(folder)), "")
    if wrong or len(names) != 1000:
        found = f"{wrong!r} is no folder of ImageNet" if wrong else f"it has {len(names)} lines"
        raise UserError(f"{path}: not the names of ImageNet's 1,000 classes: {found}.")


def parse_classnames(path: Path, remedy: str) -> dict[str, str]:
    """Return the class name of each folder, in the order of labels.

    Args:
        path: "wnid name" a line. Two folders may share a name.
        remedy: what to do where the file is missing.

    Raises:
        UserError: the file is missing, a line has no name, or folders repeat or are not sorted
            (the order of the lines is the order of labels, which CoOp takes sorted).
    """
    names: dict[str, str] = {}
    for number, line in enumerate(read_lines(path, remedy), start=1):
        folder, _, name = line.partition(" ")
        if not name.strip():
            raise UserError(f"{path}: line {number} ({line!r}) has no class name; {remedy}.")
        if folder in names:
            raise UserError(f"{path}: line {number} repeats folder {folder}; {remedy}.")
        names[folder] = name.strip()
    if list(names) != sorted(names):
        raise UserError(f"{path}: its folders are not in sorted order; {remedy}.")
    return names


def read_classnames(path: Path, remedy: str) -> dict[str, str]:
    """Return the names as :func:`parse_classnames` does; a line says where they are not CLIP's.

    Raises:
        UserError: as there.
    """
    names = parse_classnames(path, remedy)
    digest = hashlib.sha256("\n".join(names.values()).encode()).hexdigest()
    if len(names) == 1000 and digest != CLIP_NAMES_SHA256:
        say(f"{path}: its class names are not CLIP's own list; zero-shot accuracy will differ")
    return names


class ImageNetFolders(ImageDataset):
    """A dataset of class folders whose names are in ImageNet's classnames.txt.

    Labels are the rank of the folder among those present.
    """

    image_dir: str

    def read_names(self) -> dict[str, str]:
        """Return the class name of each folder, from this dataset's file or ImageNet's."""
        own = self.folder / CLASSNAMES
        shared = self.root / "imagenet" / CLASSNAMES
        return read_classnames(
            shared if shared.is_file() and not own.is_file() else own, self.remedy
        )

    def items(self, image_dir: str, names: Mapping[str, str]) -> list[Item]:
        """Return the images of the class folders in `image_dir`, folders and files sorted.

        Args:
            image_dir: relative to the dataset's folder.
            names: the class name of each folder.

        Raises:
            UserError: the folder is missing or empty, or a class folder has no name.
        """
        folder = self.folder / image_dir
        if not folder.is_dir():
            raise UserError(f"{folder}: missing, images of {self.key}; {self.remedy}.")
        items = []
        for label, (name, files) in enumerate(list_class_folders(folder).items()):
            if name not in names:
                raise UserError(f"{folder / name}: a class folder that {CLASSNAMES} does not name.")
            prefix = f"{self.dataset_dir}/{image_dir}/{name}/"
            items += [Item(prefix + file, label, names[name]) for file in files]
        return items

    def read(self, allow_random: bool) -> Lists:
        """Return all images as the test list."""
        return Lists([], [], self.items(self.image_dir, self.read_names()))


@DATASET_REGISTRY.register()
class ImageNet(ImageNetFolders):
    """Russakovsky et al. (2015): 1,000 classes, two pairs of which share a name.

    The 50,000 validation images are the test list. CoOp selects on them as well; here the val
    list is further training images, drawn after the few shots (see
    :meth:`datasets.base.ImageDataset.few_shots`), so that nothing is selected on test images
    and the training list stays CoOp's.
    """

    key = "imagenet"
    dataset_dir = "imagenet"
    image_dir = "images"
    sizes = Sizes(1281167, 0, 50000, 1000)
    sources = (classnames_source("imagenet"),)
    manual = (
        "Register at https://image-net.org, get ILSVRC2012_img_train.tar and "
        "ILSVRC2012_img_val.tar, and unpack them so that {root}/imagenet/images/train/n01440764/ "
        "and {root}/imagenet/images/val/n01440764/ hold the images of the first class."
    )

    def read(self, allow_random: bool) -> Lists:
        """Return train, no val, and the validation images as test."""
        names = self.read_names()
        train = self.items(f"{self.image_dir}/train", names)
        return Lists(train, [], self.items(f"{self.image_dir}/val", names))
