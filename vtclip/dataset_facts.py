"""What a run needs to know of its dataset, whichever project the dataset's class comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from yacs.config import CfgNode

from vtclip.errors import UserError
from vtclip.fewshot import Entry, digest_of
from vtclip.prompts import TEMPLATES, check_template

SPLITS = ("train", "val", "test")


class Record(Protocol):
    """One image of a list, as Dassl's Datum."""

    @property
    def impath(self) -> str:
        """Path of the file."""

    @property
    def label(self) -> int:
        """Number of the class."""

    @property
    def classname(self) -> str:
        """Name of the class."""


class DasslDataset(Protocol):
    """What every dataset of Dassl has."""

    @property
    def train_x(self) -> Sequence[Record]:
        """Training images."""

    @property
    def val(self) -> Sequence[Record] | None:
        """Validation images."""

    @property
    def test(self) -> Sequence[Record]:
        """Test images."""

    @property
    def classnames(self) -> Sequence[str]:
        """Names of the classes, in the order of labels."""


@runtime_checkable
class DescribedDataset(Protocol):
    """What the datasets of this project declare beyond Dassl's.

    Attributes:
        template: prompt template with one {}.
        comparable: False where the split is not the official one.
        test_only: there are no training images; `train_x` is the test list, from which Dassl
            takes class names, and must not be trained on.
        few_shot_lists: "train" and "val", each [(path relative to the data root, label, class
            name), ...].
        test_list: the same of the test images.
        feature_bank: features in place of images (see :class:`datasets.feature_bank.Bank`).
    """

    template: str
    comparable: bool
    test_only: bool
    few_shot_lists: dict[str, Any]
    test_list: Any
    feature_bank: Any


@dataclass(frozen=True)
class DatasetFacts:
    """The lists of a run and what is known of them.

    Attributes:
        items: the images by split: "train", "val" and "test".
        classnames: of the K classes, in the order of labels.
        template: prompt template with one {}.
        root: the data root, absolute.
        few_shot_lists, test_list: see :class:`DescribedDataset`.
        comparable: False where the split is not the official one.
        feature_bank: features in place of images, None for images.
    """

    items: dict[str, list[Record]]
    classnames: list[str]
    template: str
    root: Path
    few_shot_lists: dict[str, list[Entry]]
    test_list: list[Entry]
    comparable: bool = True
    feature_bank: Any = field(default=None, repr=False)

    def list_digests(self) -> dict[str, str]:
        """Return the digest of each few-shot list by split, "" for an empty one."""
        return {
            split: digest_of(entries) if entries else ""
            for split, entries in self.few_shot_lists.items()
        }

    def paths(self, split: str) -> list[str]:
        """Return the path of each image of a split, relative to the data root, in order.

        That of a row of a file of features is FILE#ARRAY[ROW].
        """
        entries = self.test_list if split == "test" else self.few_shot_lists[split]
        return [path for path, _, _ in entries]


def describe_dataset(dataset: DasslDataset, cfg: CfgNode) -> DatasetFacts:
    """Return the facts of a dataset; what a dataset of another project lacks is worked out.

    Raises:
        UserError: the template has no place for the class name.
    """
    # as given: a link to another disk is a part of the paths below it
    root = Path(cfg.DATASET.ROOT).expanduser().absolute()
    train, val, test = dataset.train_x, dataset.val or [], dataset.test
    items: dict[str, list[Record]] = {"train": [*train], "val": [*val], "test": [*test]}
    classnames = [str(name) for name in dataset.classnames]
    if not isinstance(dataset, DescribedDataset):
        own = TEMPLATES.get(cfg.DATASET.NAME, TEMPLATES["ImageNet"])
        lists = {split: [_entry(item, root) for item in items[split]] for split in SPLITS}
        template = check_template(cfg.DATASET.TEMPLATE or own)
        return DatasetFacts(items, classnames, template, root, lists, lists.pop("test"))
    if dataset.test_only:
        items["train"] = []
    return DatasetFacts(
        items,
        classnames,
        check_template(cfg.DATASET.TEMPLATE or dataset.template),
        root,
        dict(dataset.few_shot_lists),
        list(dataset.test_list),
        dataset.comparable,
        dataset.feature_bank,
    )


def require_items(facts: DatasetFacts, split: str, cfg: CfgNode) -> None:
    """Check that a split has images.

    Raises:
        UserError: it has none.
    """
    if not facts.items[split]:
        raise UserError(
            f"DATASET.NAME {cfg.DATASET.NAME}: has no {split} images at DATASET.NUM_SHOTS "
            f"{cfg.DATASET.NUM_SHOTS}, which {cfg.TRAINER.NAME} needs."
        )


def _entry(item: Record, root: Path) -> Entry:
    path = Path(item.impath)
    for folder in (root, root.resolve()):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix(), item.label, item.classname
        if path.resolve().is_relative_to(folder):
            return path.resolve().relative_to(folder).as_posix(), item.label, item.classname
    return path.as_posix(), item.label, item.classname
