"""Images that are in two lists of a run at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from vtclip.files import require_file, sha256_of_file
from vtclip.kept import kept_of_file

if TYPE_CHECKING:
    from vtclip.dataset_facts import DatasetFacts
    from vtclip.image_features import Features

Pair = tuple[str, str]

# bytes at the end of a file, which hardly two compressed images share
ENDING = 4096


def overlap(first: Sequence[str], second: Sequence[str], by_content: bool = True) -> list[Pair]:
    """Return each path of `first` whose image is in `second` too, with its path there.

    Two paths are the same image if they are equal or, with `by_content`, if the bytes of both files
    are. Files are compared by size, then by their ends, and only those that agree in both are read
    whole. A file that cannot be read is compared by path.

    Args:
        first: paths of images; repeats count.
        second: paths of images; of several that are the same image, the first is given.
        by_content: read files; without, paths alone are compared.

    Returns:
        (path of `first`, path of `second`), in the order of `first`.
    """
    paths = set(second)
    same = {path: path for path in first if path in paths}
    if by_content:
        keys: dict[str, tuple[Hashable, ...]] = dict.fromkeys([*first, *second], ())
        for measure in (_size, _ending, _digest):
            keys = {path: (*key, measure(path)) for path, key in keys.items()}
            common = {keys.get(path) for path in first} & {keys.get(path) for path in second}
            keys = {path: key for path, key in keys.items() if key in common}
            if not keys:
                break
        content = {keys[path]: path for path in reversed(second) if path in keys}
        for path in first:
            if path in keys:
                same.setdefault(path, content[keys[path]])
    return [(path, same[path]) for path in first if path in same]


def describe_overlap(pairs: Sequence[Pair], first: str, second: str) -> str:
    """Return one line about the pairs of :func:`overlap`, "" where there are none.

    Args:
        pairs: what the two lists share.
        first: what the first list is called, such as "train".
        second: what the second list is called.
    """
    if not pairs:
        return ""
    one, other = pairs[0]
    example = one if one == other else f"{one} is {other}"
    images = "1 image of" if len(pairs) == 1 else f"{len(pairs):,} images of"
    return f"{images} {first} in {second} too ({example})"


def overlap_of_run(facts: DatasetFacts, by_content: bool) -> dict[str, list[Pair]]:
    """Return what the test shares with the other lists of a run: by "val" and "train".

    Args:
        facts: of the dataset; the rows of a feature bank are compared by their features.
        by_content: see :func:`overlap`.
    """
    if facts.feature_bank is not None:
        bank = facts.feature_bank
        test = _rows(bank.test)
        parts = {"val": bank.val, "train": bank.train_x}
        return {
            split: overlap([] if part is None else _rows(part), test, by_content=False)
            for split, part in parts.items()
        }
    paths = {split: [item.impath for item in items] for split, items in facts.items.items()}
    return {split: overlap(paths[split], paths["test"], by_content) for split in ("val", "train")}


def _rows(features: Features) -> list[str]:
    rows: Tensor = features.global_features
    return [f"row {hashlib.sha256(row.numpy().tobytes()).hexdigest()[:16]}" for row in rows.cpu()]


def _read(path: str, measure: Callable[[Path], Hashable]) -> Hashable:
    try:
        require_file(Path(path))
        return measure(Path(path))
    except OSError:
        # equal to itself alone
        return path


def _size(path: str) -> Hashable:
    return _read(path, lambda file: file.stat().st_size)


def _ending(path: str) -> Hashable:
    return _read(path, lambda file: kept_of_file("ending", file, _digest_of_ending))


def _digest_of_ending(file: Path) -> bytes:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - ENDING))
        return hashlib.sha256(stream.read()).digest()


def _digest(path: str) -> Hashable:
    return _read(path, lambda file: kept_of_file("sha256", file, sha256_of_file))
