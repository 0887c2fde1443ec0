"""Lists of labelled images, and few-shot samples of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Datum:
    """One labelled image; whether the file exists is not looked at.

    Attributes:
        impath: path of the image.
        label: class, from 0.
        domain: index of the domain it comes from.
        classname: name of the class.
    """

    impath: str = ""
    label: int = 0
    domain: int = 0
    classname: str = ""


class DatasetBase:
    """Lists of `Datum`; a dataset derives from it and hands its lists to `__init__`."""

    dataset_dir = ""  # folder under DATASET.ROOT
    domains: Sequence[str] = ()

    def __init__(
        self,
        train_x: Sequence[Datum] | None = None,
        train_u: Sequence[Datum] | None = None,
        val: Sequence[Datum] | None = None,
        test: Sequence[Datum] | None = None,
    ) -> None:
        """Keep the lists and derive the classes from `train_x`.

        Args:
            train_x: labelled training images; for a dataset that is only tested on, the test list.
            train_u: images used without their label.
            val: validation images.
            test: test images.

        Raises:
            ValueError: `train_x` is empty, or its labels are not 0, 1, ... without a hole.
        """
        self._train_x = train_x or []
        self._train_u = train_u or []
        self._val = val or []
        self._test = test or []
        self._lab2cname = _class_names(self._train_x)

    @property
    def train_x(self) -> Sequence[Datum]:
        """Labelled training images."""
        return self._train_x

    @property
    def train_u(self) -> Sequence[Datum]:
        """Images used without their label; may be empty."""
        return self._train_u

    @property
    def val(self) -> Sequence[Datum]:
        """Validation images; may be empty."""
        return self._val

    @property
    def test(self) -> Sequence[Datum]:
        """Test images."""
        return self._test

    @property
    def lab2cname(self) -> dict[int, str]:
        """Class name of each label."""
        return self._lab2cname

    @property
    def classnames(self) -> list[str]:
        """Class names in the order of their labels."""
        return list(self._lab2cname.values())

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self._lab2cname)

    def generate_fewshot_dataset(
        self, *data_sources: Sequence[Datum], num_shots: int = -1, repeat: bool = False
    ) -> Any:
        """Draw `num_shots` images per class from each list, on Python's global `random`.

        Labels come in the order of their first occurrence, lists in the order given, and nothing
        else is drawn: `random.seed(s)` before the call fixes the result.

        Args:
            data_sources: one list or more.
            num_shots: images per class; below 1, the lists are returned as they are.
            repeat: give a class with fewer images `num_shots` of them drawn with replacement,
                instead of each once.

        Returns:
            The sample of the one list, or a list of samples if several were given.
        """
        if num_shots < 1:
            samples = list(data_sources)
        else:
            samples = [_sample(source, num_shots, repeat) for source in data_sources]
        return samples[0] if len(samples) == 1 else samples


def _sample(source: Sequence[Datum], num_shots: int, repeat: bool) -> list[Datum]:
    by_label: dict[int, list[Datum]] = {}
    for item in source:
        by_label.setdefault(item.label, []).append(item)
    sample: list[Datum] = []
    for items in by_label.values():
        if len(items) >= num_shots:
            sample += random.sample(items, num_shots)
        elif repeat:
            sample += random.choices(items, k=num_shots)
        else:
            sample += items
    return sample


def _class_names(items: Sequence[Datum]) -> dict[int, str]:
    names = {item.label: item.classname for item in items}
    if not names:
        raise ValueError("train_x is empty, so that there are no classes")
    for label in range(len(names)):
        if label not in names:
            raise ValueError(
                f"label {label} is missing in train_x: its {len(names)} labels must be "
                f"0 to {len(names) - 1}, and go up to {max(names)}"
            )
    return dict(sorted(names.items()))
