"""Lists of images: reading and checking a split file."""

from __future__ import annotations

import re
import reprlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from vtclip.errors import UserError
from vtclip.files import read_json

PARTS = ("train", "val", "test")
# an empty part, "." or ".." between slashes, and what Windows reads as a slash or a drive
UNSAFE = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|\\|\0|\A.:")


class Item(NamedTuple):
    """One image of a list.

    Attributes:
        path: relative to the data root, with forward slashes.
        label: from 0.
        classname: as the split file spells it.
    """

    path: str
    label: int
    classname: str


LABEL_AND_NAME = itemgetter(1, 2)


@dataclass(frozen=True)
class Sizes:
    """Known sizes of a dataset: images a part, and classes."""

    train: int
    val: int
    test: int
    classes: int


@dataclass(frozen=True)
class Lists:
    """The images of a dataset, in the order of its split file.

    Attributes:
        train: empty for a dataset that is for testing only.
        val: empty where there is none; few-shot validation images are then further images of
            `train` (see :mod:`datasets.sampling`).
        test: the whole test split.
        comparable: False where the split is not the official one.
    """

    train: list[Item]
    val: list[Item]
    test: list[Item]
    comparable: bool = True

    @property
    def sizes(self) -> Sizes:
        """Images a part, and the number of classes."""
        classes = len(classes_of(self.train or self.test))
        return Sizes(len(self.train), len(self.val), len(self.test), classes)


def classes_of(items: Iterable[Item]) -> set[tuple[int, str]]:
    """Return the pairs of label and class name among `items`."""
    return set(map(LABEL_AND_NAME, items))


def safe_path(path: str) -> bool:
    """Tell whether `path` is relative, with forward slashes, and stays in its folder."""
    return not UNSAFE.search(path)


def normal_path(path: str) -> str:
    """Return `path` without "." parts, doubled slashes and backslashes, as in "./a\\b.jpg".

    Returns:
        A path that :func:`safe_path` accepts; "" where `path` is empty or leaves its folder.
    """
    parts = path.replace("\\", "/").split("/")
    if not parts[0]:
        return ""
    normal = "/".join(part for part in parts if part not in ("", "."))
    return normal if safe_path(normal) else ""


def _items(path: Path, part: str, entries: Any, prefix: str) -> list[Item]:
    if not isinstance(entries, list):
        raise UserError(f"{path}: {part!r} is not a list of [image, label, class name].")
    items = []
    for number, entry in enumerate(entries):
        if [*map(type, entry if isinstance(entry, list) else ())] != [str, int, str]:
            raise UserError(
                f"{path}: entry {number} of {part!r} is {reprlib.repr(entry)}, not "
                "[image, label, class name]; fetch the file again."
            )
        image, label, classname = entry
        normal = image if safe_path(image) else normal_path(image)
        if not normal:
            raise UserError(
                f"{path}: entry {number} of {part!r} names {reprlib.repr(image)}, which lies "
                "outside the image folder; do not use this file."
            )
        items.append(Item(prefix + normal, label, classname))
    _require_text(path, part, items)
    return items


def _require_text(path: Path, part: str, items: list[Item]) -> None:
    """Check that no path or name holds half a character, which JSON can express."""
    for texts in ([item.path for item in items], {item.classname for item in items}):
        try:
            "".join(texts).encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{path}: a path or class name of {part!r} is not valid Unicode; fetch the file "
                "again."
            ) from None


def read_split(path: Path, prefix: str) -> Lists:
    """Read a split file of CoOp's form.

    Args:
        path: JSON, {"train" | "val" | "test": [[image, label, class name], ...]}.
        prefix: the image folder relative to the data root, "" or ending in a slash.

    Raises:
        UserError: the file is missing, not of this form, or names an image outside its folder.
    """
    raw = read_json(path)
    if not isinstance(raw, dict) or not set(PARTS) <= set(raw):
        raise UserError(f"{path}: lacks one of {', '.join(PARTS)}; fetch the file again.")
    train, val, test = (_items(path, part, raw[part], prefix) for part in PARTS)
    return Lists(train, val, test)


def check_labels(lists: Lists, source: Path) -> None:
    """Check that labels run from 0 without holes and each has one class name.

    Args:
        lists: what to check.
        source: the file or folder that the lists come from, for messages.

    Raises:
        UserError: a hole, an empty class name, a label with two names, a part without images,
            or a label in val or test that train lacks.
    """
    if not lists.test:
        raise UserError(f"{source}: has no test images.")
    names = dict(sorted(classes_of(lists.train or lists.test), reverse=True))
    lowest, highest = min(names), max(names)
    if lowest < 0 or highest >= len(names):
        # counted up and never listed: a label may be a number of any size
        hole = next((label for label in range(len(names)) if label not in names), 0)
        wrong = f"label {lowest} is below 0" if lowest < 0 else f"no image has label {hole}"
        raise UserError(f"{source}: labels must run from 0 to {highest}, but {wrong}.")
    for part in (lists.train, lists.val, lists.test):
        for label, name in sorted(classes_of(part)):
            if label not in names:
                raise UserError(f"{source}: {name!r} has label {label}, unknown in training.")
            if name != names[label]:
                raise UserError(f"{source}: label {label} is both {names[label]!r} and {name!r}.")
    for label, name in names.items():
        if not name.strip():
            raise UserError(f"{source}: the class name of label {label} is empty.")


def require_classes(lists: Lists, source: Path) -> None:
    """Check that there are two classes or more.

    Raises:
        UserError: there is one, so that every prediction would be right.
    """
    classes = classes_of(lists.train or lists.test)
    if len(classes) < 2:
        raise UserError(
            f"{source}: holds a single class ({', '.join(name for _, name in classes)}), so that "
            "every prediction is right; a result needs two or more classes."
        )


def describe(found: Sizes, known: Sizes) -> str:
    """Return the figures in which two sizes differ, "" where they agree."""
    return ", ".join(
        f"{getattr(found, part):,} {part} (known: {getattr(known, part):,})"
        for part in (*PARTS, "classes")
        if getattr(found, part) != getattr(known, part)
    )


def short_classes(train: Iterable[Item], shots: int) -> dict[str, int]:
    """Return the classes that have fewer than `shots` images, with their numbers of images."""
    counts = Counter(map(LABEL_AND_NAME, train))
    return {name: count for (_, name), count in counts.items() if count < shots}
