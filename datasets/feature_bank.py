"""Features in place of images, for methods that need no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dassl.data.datasets import DATASET_REGISTRY, Datum
from numpy.typing import NDArray
from torch import Tensor
from yacs.config import CfgNode

from vtclip.errors import UserError
from vtclip.image_features import Features
from vtclip.kept import kept_of_file
from vtclip.prompts import check_template

from .bank_file import BankFile, read_bank
from .base import ImageDataset
from .sampling import MAX_VAL_SHOTS
from .split import Item, Lists


@dataclass(frozen=True)
class FeatureSet:
    """The features of a run.

    Attributes:
        text: text features [K, D] of the classes of the run, float32, as stored.
        logit_scale: the factor of the cosine similarities.
        fingerprint: SHA-256 of the file.
        backbone: the name of the model that computed the features.
        train_x, val, test: features, float32, as stored (not normalised), in the order of the
            dataset's lists, which hold the labels; val is None where there is none.
    """

    text: Tensor
    logit_scale: float
    fingerprint: str
    backbone: str
    train_x: Features
    val: Features | None
    test: Features


@DATASET_REGISTRY.register()
class FeatureBank(ImageDataset):
    """The file named by DATASET.FEATURE_BANK (see :func:`datasets.bank_file.read_bank`).

    Attributes:
        feature_bank: the features of `train_x`, `val` and `test`.
    """

    key = "feature_bank"

    def __init__(self, cfg: CfgNode) -> None:
        """Read the file and sample shots as from images.

        Raises:
            UserError: the file is missing or wrong, or has no list of that many shots.
        """
        name = cfg.DATASET.FEATURE_BANK
        if not name:
            raise UserError("DATASET.FEATURE_BANK: names no file of features.")
        path = Path(name).expanduser().absolute()
        # the reader refuses what is no file
        self.bank: BankFile = (
            kept_of_file("bank", path, read_bank, most=1) if path.is_file() else read_bank(path)
        )
        self._rows: dict[str, tuple[str, int]] = {}
        super().__init__(cfg)
        train, val = self.few_shot_lists["train"], self.few_shot_lists["val"]
        self.feature_bank = FeatureSet(
            text=torch.from_numpy(self.bank.text[self.original_labels]),
            logit_scale=self.bank.logit_scale,
            fingerprint=self.bank.fingerprint,
            backbone=self.bank.backbone,
            train_x=self._features(train),
            val=self._features(val) if val else None,
            test=self._features(self.test_list),
        )

    @property
    def folder(self) -> Path:
        """The file of features."""
        return self.bank.path

    def choose_template(self) -> str:
        """Return the template that the file names, not that of the configuration."""
        return check_template(self.bank.template)

    def require_folder(self) -> None:
        """Nothing: there are no images."""

    def datum(self, item: Item) -> Datum:
        """Return a record whose path is the file of features."""
        return Datum(impath=str(self.bank.path), label=item.label, classname=item.classname)

    def read(self, allow_random: bool) -> Lists:
        """Return one item per row of the arrays; its path is FILE#ARRAY[ROW]."""
        shots: int = self.cfg_dataset.NUM_SHOTS
        ready = self.bank.shots
        if shots in ready:
            train = f"shot{shots}"
        elif "train_x" in self.bank.arrays:
            train = "train"
        elif shots < 1 and ready:
            train = f"shot{ready[-1]}"
        else:
            raise UserError(f"{self.bank.path}: has no {shots}-shot list, only {ready}.")
        lists = Lists(self._items(train), self._items("val"), self._items("test"))
        trained = {item.label for item in lists.train}
        for label, name in enumerate(self.bank.classnames):
            if label not in trained:
                raise UserError(f"{self.bank.path}: {train}_y has no image of class {name!r}.")
        return lists

    def few_shots(self, lists: Lists, shots: int) -> tuple[list[Item], list[Item]]:
        """Take a ready list of this many shots as it is, else sample as usual."""
        if shots not in self.bank.shots:
            return super().few_shots(lists, shots)
        if not lists.val:
            return lists.train, []
        return lists.train, self.sample(lists.val, min(shots, MAX_VAL_SHOTS))

    def _items(self, part: str) -> list[Item]:
        labels = self.bank.arrays.get(f"{part}_y", np.zeros(0, np.int64)).tolist()
        items = []
        for row, label in enumerate(labels):
            path = f"{self.bank.path.name}#{part}[{row}]"
            self._rows[path] = (part, row)
            items.append(Item(path, label, self.bank.classnames[label]))
        return items

    def _features(self, items: Sequence[Item]) -> Features:
        # the rows of a list all come from one part
        part = self._rows[items[0].path][0]
        rows = [self._rows[item.path][1] for item in items]
        spatial = self.bank.arrays.get(f"{part}_spatial")
        return Features(
            _tensor(self.bank.arrays[f"{part}_x"][rows]),
            None if spatial is None else _tensor(spatial[rows]),
        )


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float32, copy=False))
