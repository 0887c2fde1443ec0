"""What every dataset shares: lists, few shots, classes, errors."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from dassl.data.datasets import DatasetBase, Datum
from yacs.config import CfgNode

from vtclip.commands.calls import how_to_call
from vtclip.errors import UserError, shortened
from vtclip.files import printable
from vtclip.prompts import PHOTO, TEMPLATES, check_template
from vtclip.screen import say

from .listing import LeftOut, image_tree, is_utf8, missing_images, subfolders
from .sampling import MAX_VAL_SHOTS, kept_labels, random_lists, relabel, without
from .sources import Source
from .split import (
    Item,
    Lists,
    Sizes,
    check_labels,
    classes_of,
    describe,
    read_split,
    require_classes,
    short_classes,
)


class ImageDataset(DatasetBase):
    """A dataset: a subclass reads its lists, and this class makes the lists of a run of them.

    Class attributes, the facts of a dataset:
        key: name in configs and on command lines.
        dataset_dir: its folder in the data root.
        sizes: the known sizes, None where there are none to know.
        sources: where its files come from, for `python -m datasets prepare`.
        manual: what to do by hand where files cannot be downloaded freely; {root} is the root.
        known: every dataset by its key.

    Attributes:
        template: prompt template with one {}.
        comparable: False where the split is not the official one.
        test_only: True where there are no training images; `train_x` is then the test list,
            since Dassl takes class names from it, and must not be trained on.
        few_shot_lists: "train" and "val", each [(path relative to the data root, label,
            class name), ...], exactly the images of `train_x` and `val` in their order.
        test_list: the same of `test`.
        original_labels: of each class that is kept, its label before others were left out.
    """

    key: ClassVar[str]
    feature_bank: Any = None
    dataset_dir: str = ""
    sizes: ClassVar[Sizes | None] = None
    sources: ClassVar[tuple[Source, ...]] = ()
    manual: ClassVar[str] = ""
    known: ClassVar[dict[str, type[ImageDataset]]] = {}

    def __init_subclass__(cls) -> None:
        """Enter the class in `known` by its key."""
        super().__init_subclass__()
        if "key" in vars(cls):
            cls.known[cls.key] = cls

    @classmethod
    def at(cls, root: Path) -> ImageDataset:
        """Return the dataset in `root` for looking at its lists, without those of a run."""
        dataset = cls.__new__(cls)
        dataset.root = root
        return dataset

    def __init__(self, cfg: CfgNode) -> None:
        """Read the lists, sample the shots, keep the classes of `cfg`.

        Raises:
            UserError: data is missing or cannot be right.
        """
        self.cfg_dataset = cfg.DATASET
        if cfg.DATASET.NUM_SHOTS < -1:
            raise UserError(
                f"DATASET.NUM_SHOTS: {cfg.DATASET.NUM_SHOTS}; give a number of images per class, "
                "or -1 for all of them."
            )
        self.root = Path(cfg.DATASET.ROOT).expanduser().absolute()
        if not is_utf8(str(self.root)):
            raise UserError(
                f"DATASET.ROOT: {printable(self.root)}: not UTF-8, so that logs and lists cannot "
                "hold it; rename the folder."
            )
        self.template = self.choose_template()
        lists = self.checked(cfg.DATASET.ALLOW_RANDOM_SPLIT)
        self.comparable = lists.comparable
        self.test_only = not lists.train

        # CoOp's lists, whatever was imported since the seed was set: the package rich, which others
        # import, draws on `random`
        if cfg.SEED >= 0:
            random.seed(cfg.SEED)
        train, val = self.few_shots(lists, cfg.DATASET.NUM_SHOTS)
        reference = train or lists.test
        labels = kept_labels(
            (label for label, _ in classes_of(reference)), cfg.DATASET.SUBSAMPLE_CLASSES
        )
        self.original_labels = list(labels)
        self.few_shot_lists = {"train": relabel(train, labels), "val": relabel(val, labels)}
        self.test_list = relabel(lists.test, labels)
        self.require_kept(len(labels))
        test_x = [self.datum(item) for item in self.test_list]
        train_x, val_x = ([self.datum(i) for i in part] for part in self.few_shot_lists.values())
        super().__init__(train_x=train_x or test_x, val=val_x or None, test=test_x)

    def require_kept(self, kept: int) -> None:
        """Check that SUBSAMPLE_CLASSES leaves two classes or more, and test images of them.

        Raises:
            UserError: it does not.
        """
        asked = f"DATASET.SUBSAMPLE_CLASSES: {self.cfg_dataset.SUBSAMPLE_CLASSES}"
        if kept < 2:
            raise UserError(
                f"{asked} leaves {kept} of the classes of {self.folder}; a result needs two or "
                "more classes."
            )
        if not self.test_list:
            raise UserError(f"{asked} leaves no test images of {self.folder}.")

    @property
    def folder(self) -> Path:
        """The folder of this dataset."""
        return self.root / self.dataset_dir

    @property
    def remedy(self) -> str:
        """What to do where files are missing."""
        return f"see `{how_to_call('datasets')} prepare {self.key} --root {self.root}`"

    def choose_template(self) -> str:
        """Return the template of the configuration, else the dataset's own."""
        own = TEMPLATES.get(type(self).__name__, PHOTO)
        return check_template(self.cfg_dataset.TEMPLATE or own)

    def read(self, allow_random: bool) -> Lists:
        """Return the lists of this dataset.

        Args:
            allow_random: make a random split where the official one is missing.

        Raises:
            UserError: a file or folder is missing or wrong.
        """
        raise NotImplementedError

    def datum(self, item: Item) -> Datum:
        """Return Dassl's record of an image.

        Raises:
            UserError: Dassl.pytorch finds no regular file there; a stand-in does not look.
        """
        path = f"{self.root}/{item.path}"
        try:
            return Datum(impath=path, label=item.label, classname=item.classname)
        except AssertionError as error:
            raise UserError(f"{path}: missing, or not a regular file.") from error

    def require_folder(self) -> None:
        """Check that the dataset's folder is there.

        Raises:
            UserError: it is not.
        """
        if not self.root.is_dir():
            raise UserError(
                f"{self.root}: no such data root; give --root DIR or set DATA, or {self.remedy}."
            )
        if not self.folder.is_dir():
            raise UserError(
                f"{self.folder}: missing, the folder of {self.key}; {self._other_root()}"
                f"{self.remedy}."
            )

    def _other_root(self) -> str:
        """Return the advice to give another root, "" where none near by holds the dataset."""
        if self.root.name == self.dataset_dir.partition("/")[0]:
            return f"give --root {self.root.parent}, or "
        for name in subfolders(self.root):
            if (self.root / name / self.dataset_dir).is_dir():
                return f"give --root {self.root / name}, or "
        return ""

    def checked(self, allow_random: bool) -> Lists:
        """Return the lists after checking folders, labels and sizes.

        Raises:
            UserError: as :meth:`read`, or the sizes are not the known ones and `allow_random`
                is False.
        """
        self.require_folder()
        lists = self.read(allow_random)
        check_labels(lists, self.folder)
        require_classes(lists, self.folder)
        wrong = describe(lists.sizes, self.sizes) if self.sizes else ""
        if wrong and not allow_random:
            raise UserError(
                f"{self.folder}: {wrong}: not the official split; {self.remedy}, or go on with "
                "DATASET.ALLOW_RANDOM_SPLIT True (not comparable with published results)."
            )
        if wrong or not lists.comparable:
            say(f"{self.key}: not the official split; not comparable with published results")
            return Lists(lists.train, lists.val, lists.test, comparable=False)
        return lists

    def require_images(self, lists: Lists) -> None:
        """Check that every listed image is there.

        Raises:
            UserError: some are not; names the first.
        """
        missing = missing_images(self.root, (*lists.train, *lists.val, *lists.test))
        if missing:
            first = shortened(str(self.root / missing[0]), 500)
            raise UserError(
                f"{first}: missing, as are {len(missing) - 1:,} more images of {self.key}; "
                f"{self.remedy}."
            )

    def few_shots(self, lists: Lists, shots: int) -> tuple[list[Item], list[Item]]:
        """Draw the few-shot lists on Python's global `random`: train first, then val.

        Where there is no val list, it is drawn from the training images that are left, so that
        nothing is ever selected on test images; with `shots` below 1 there is then no val.

        Returns:
            `shots` images per class of train and min(`shots`, 4) of val; everything for `shots`
            below 1.
        """
        if shots < 1 or not lists.train:
            return lists.train, lists.val
        short = short_classes(lists.train, shots)
        if short:
            fewest = min(short, key=lambda name: short[name])
            say(
                f"{self.key}: {len(short)} classes have fewer than {shots} training images, all "
                f"of which are used (fewest: {fewest}, {short[fewest]})"
            )
        train = self.sample(lists.train, shots)
        pool = lists.val or without(lists.train, train)
        return train, self.sample(pool, min(shots, MAX_VAL_SHOTS))

    def sample(self, items: list[Item], shots: int) -> list[Item]:
        """Draw `shots` items per class with Dassl's own sampling."""
        # Dassl samples whatever has a label; records that are not drawn need not be built
        draw: Callable[..., list[Item]] = self.generate_fewshot_dataset
        return draw(items, num_shots=shots)


class SplitDataset(ImageDataset):
    """A dataset with a split file of CoOp's form.

    Class attributes:
        image_dir: the image folder, relative to the dataset's; "" where it is the same.
        split_file: the name of the split file.
        folder_names: class names of folders where they differ from the folder's name; None
            leaves a folder out. Only random splits need them.
    """

    image_dir: ClassVar[str] = ""
    split_file: ClassVar[str]
    folder_names: ClassVar[dict[str, str | None]] = {}

    @property
    def split_path(self) -> Path:
        """The split file."""
        return self.folder / self.split_file

    @property
    def prefix(self) -> str:
        """The image folder relative to the data root, with a slash at its end."""
        return "/".join(part for part in (self.dataset_dir, self.image_dir) if part) + "/"

    def names_of(self, paths: list[str]) -> dict[str, str]:
        """Return the class name of each image, for a random split; images may be left out.

        Args:
            paths: images relative to the image folder.
        """
        found = {}
        for path in paths:
            folder = path.rpartition("/")[0]
            name = self.folder_names.get(folder, folder.rpartition("/")[2])
            if name:
                found[path] = name
        return found

    def read(self, allow_random: bool) -> Lists:
        """Read the split file, else make a random split where that is allowed."""
        if not (self.root / self.prefix).is_dir():
            raise UserError(
                f"{self.root / self.prefix}: missing, the images of {self.key}; {self.remedy}."
            )
        if self.split_path.is_file():
            lists = read_split(self.split_path, self.prefix)
            self.require_images(lists)
            return lists
        if not allow_random:
            raise UserError(
                f"{self.split_path}: missing, the official split of {self.key}; {self.remedy}, or "
                "set DATASET.ALLOW_RANDOM_SPLIT True (not comparable with published results)."
            )
        left_out = LeftOut()
        names = self.names_of(image_tree(self.root / self.prefix, left_out=left_out))
        if str(left_out):
            say(f"{self.root / self.prefix}: {left_out}")
        if not names:
            raise UserError(f"{self.root / self.prefix}: no images to make a random split of.")
        return random_lists({self.prefix + path: name for path, name in names.items()})
