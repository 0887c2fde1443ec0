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

SPLITS = {"train": "train_x", "val": "val", "test": "test"}


class Record(Protocol):
    """One image of a list, as Dassl's Datum."""

    impath: str
    label: int
    classname: str


class DasslDataset(Protocol):
    """What every dataset of Dassl has."""

    train_x: Sequence[Record]
    val: Sequence[Record] | None
    test: Sequence[Record]
    classnames: Sequence[str]


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
        feature_bank: features in place of images (see :class:`datasets.feature_bank.Bank`).
    """

    template: str
    comparable: bool
    test_only: bool
    few_shot_lists: dict[str, Any]
    feature_bank: Any


@dataclass(frozen=True)
class DatasetFacts:
    """The lists of a run and what is known of them.

    Attributes:
        items: the images by split: "train", "val" and "test".
        classnames: of the K classes, in the order of labels.
        template: prompt template with one {}.
        root: the data root, absolute.
        few_shot_lists: see :class:`DescribedDataset`.
        comparable: False where the split is not the official one.
        feature_bank: features in place of images, None for images.
    """

    items: dict[str, list[Record]]
    classnames: list[str]
    template: str
    root: Path
    few_shot_lists: dict[str, list[Entry]]
    comparable: bool = True
    feature_bank: Any = field(default=None, repr=False)

    def list_digests(self) -> dict[str, str]:
        """Return the digest of each few-shot list by split, "" for an empty one."""
        return {
            split: digest_of(entries) if entries else ""
            for split, entries in self.few_shot_lists.items()
        }


def describe_dataset(dataset: DasslDataset, cfg: CfgNode) -> DatasetFacts:
    """Return the facts of a dataset; what a dataset of another project lacks is worked out.

    Raises:
        UserError: the template has no place for the class name.
    """
    # as given: a link to another disk is a part of the paths below it
    root = Path(cfg.DATASET.ROOT).expanduser().absolute()
    items = {split: list(getattr(dataset, name) or []) for split, name in SPLITS.items()}
    described = isinstance(dataset, DescribedDataset)
    if described and dataset.test_only:
        items["train"] = []
    own_template = (
        dataset.template
        if described
        else TEMPLATES.get(cfg.DATASET.NAME, TEMPLATES["ImageNet"])
    )
    lists = (
        dict(dataset.few_shot_lists)
        if described
        else {split: [_entry(item, root) for item in items[split]] for split in ("train", "val")}
    )
    return DatasetFacts(
        items=items,
        classnames=[str(name) for name in dataset.classnames],
        template=check_template(cfg.DATASET.TEMPLATE or own_template),
        root=root,
        few_shot_lists=lists,
        comparable=dataset.comparable if described else True,
        feature_bank=dataset.feature_bank if described else None,
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
