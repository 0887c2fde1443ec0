"""Your own photographs: a folder of class folders, no code to write.

    my_photos/CLASS/*.jpg                          split at random, the same way every time
    my_photos/{train,test}/CLASS/*.jpg             and my_photos/val/CLASS/*.jpg where there is one
    my_photos/classnames.txt                       optional: folder, tab, class name, one a line

Class names are otherwise the folders' names (an underscore is a space in prompts). The parts may
also be called training, testing, valid or validation, in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY

from vtclip.errors import UserError, unknown_name
from vtclip.screen import say

from .base import ImageDataset
from .listing import BESIDE, OUTSIDE, LeftOut, image_tree, images, subfolders
from .sampling import random_lists
from .split import PARTS, Item, Lists
from .textfiles import read_lines

CLASSNAMES = "classnames.txt"
PART_NAMES = {
    **{part: part for part in PARTS},
    "training": "train",
    "testing": "test",
    "valid": "val",
    "validation": "val",
}


@dataclass(frozen=True)
class Layout:
    """What the folders of a folder of photos are.

    Attributes:
        classes: the folders that are classes, empty where there are parts.
        parts: the folder of each part, empty where the folders are classes.
        others: folders beside the parts, which belong to none of them.
    """

    classes: list[str]
    parts: dict[str, str]
    others: list[str]


def layout_of(root: Path) -> Layout:
    """Tell classes from parts.

    A folder with the name of a part is a part if it holds folders. If it holds only images, it is
    a class of that name.

    Raises:
        UserError: two folders are the same part, some parts hold class folders and others do not,
            or train or test is missing.
    """
    found = subfolders(root)
    named = {name: PART_NAMES[name.casefold()] for name in found if name.casefold() in PART_NAMES}
    holding = [name for name in named if subfolders(root / name)]
    if not holding:
        return Layout(found, {}, [])
    parts: dict[str, str] = {}
    for name, part in named.items():
        if part in parts:
            raise UserError(
                f"{root}: {parts[part]} and {name} are both taken as {part}; rename or remove one."
            )
        parts[part] = name
        if name not in holding and images(root / name):
            raise UserError(
                f"{root / name}: holds images and no class folders, but {root / holding[0]} holds "
                "class folders; both are parts or both are classes."
            )
    for part in ("train", "test"):
        if part not in parts:
            raise UserError(
                f"{root / part}: missing beside {holding[0]}; a class named {holding[0]} must hold "
                "its images directly."
            )
    return Layout([], parts, [name for name in found if name not in named])


def dataset_within(folders: Iterable[str]) -> str:
    """Return the folder that looks like the dataset itself, "" where there is none.

    That is a folder that holds train and test. Without one it is the only folder, if it holds
    several folders.

    Args:
        folders: all folders below the root, relative to it.
    """
    inside: dict[str, set[str]] = {}
    for folder in folders:
        parent, _, name = folder.rpartition("/")
        inside.setdefault(parent, set()).add(name)
    place = ""
    while True:
        names = sorted(inside.get(place, ()))
        paths = [f"{place}/{name}" if place else name for name in names]
        for path in paths:
            parts = {PART_NAMES.get(name.casefold()) for name in inside.get(path, ())}
            if {"train", "test"} <= parts:
                return path
        if len(paths) != 1:
            return ""
        place = paths[0]
        if len(inside.get(place, ())) > 1:
            return place


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
        layout = layout_of(self.root)
        left_out = LeftOut()
        for name in images(self.root):
            left_out.add(OUTSIDE, name)
        if layout.parts:
            lists = self._parts(layout, left_out)
        else:
            lists = random_lists(self._classes(layout.classes, left_out))
        if str(left_out):
            say(f"{self.root}: {left_out}")
        return lists

    def _parts(self, layout: Layout, left_out: LeftOut) -> Lists:
        """Return the images of the part folders as they are."""
        for name in layout.others:
            left_out.add(BESIDE, name)
        folders = subfolders(self.root / layout.parts["train"])
        names = self._names(folders)
        labels = {folder: label for label, folder in enumerate(folders)}
        seen: dict[str, str] = {}
        lists: dict[str, list[Item]] = {part: [] for part in PARTS}
        for part, part_folder in layout.parts.items():
            path = self.root / part_folder
            for name in images(path):
                left_out.add(OUTSIDE, f"{part_folder}/{name}")
            for folder in subfolders(path):
                if folder not in names:
                    raise UserError(f"{path / folder}: a class that {layout.parts['train']} lacks.")
                found = image_tree(path / folder, f"{part_folder}/{folder}/", left_out, seen)
                if not found and part == "train":
                    raise self._no_images(path / folder, left_out)
                lists[part] += [Item(image, labels[folder], names[folder]) for image in found]
        return Lists(lists["train"], lists["val"], lists["test"])

    def _classes(self, folders: list[str], left_out: LeftOut) -> dict[str, str]:
        """Return the class name of each image in the class folders."""
        seen: dict[str, str] = {}
        found = {
            folder: image_tree(self.root / folder, f"{folder}/", left_out, seen)
            for folder in folders
        }
        within = dataset_within(os.path.relpath(path, self.root) for path in seen.values())
        if within:
            raise UserError(
                f"{self.root}: {within} looks like the dataset itself (its folders look like "
                f"classes or parts); give --root {self.root / within}."
            )
        names = self._names(folders)
        for folder, paths in found.items():
            if not paths:
                raise self._no_images(self.root / folder, left_out)
        return {path: names[folder] for folder, paths in found.items() for path in paths}

    def _no_images(self, path: Path, left_out: LeftOut) -> UserError:
        return UserError(
            f"{path}: has no images; add some or remove the folder."
            + (f" (In all folders, {left_out}.)" if str(left_out) else "")
        )

    def _names(self, folders: list[str]) -> dict[str, str]:
        if not folders:
            hint = ""
            if images(self.root):
                hint = f"it holds images, so perhaps --root {self.root.parent} is meant; "
            raise UserError(f"{self.root}: has no class folders; {hint}{self.remedy}.")
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
