"""Images that are in two lists at once, such as training images among those of the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .split import Item

Pair = tuple[Item, Item]


def overlap(
    first: Sequence[Item], second: Sequence[Item], digests: Mapping[str, bytes] | None = None
) -> list[Pair]:
    """Return each item of `first` that is in `second` too, with the item that it is there.

    Two items are the same image if they have the same path or, where both digests are known, the
    same content. Labels are not compared.

    Args:
        first: a list of images.
        second: another one; of several items that are the same image, the first is given.
        digests: a digest of the content of each image, by path; may lack some.

    Returns:
        (item of `first`, item of `second`), in the order of `first`.
    """
    digests = digests or {}
    by_path: dict[str, Item] = {}
    by_content: dict[bytes, Item] = {}
    for item in second:
        by_path.setdefault(item.path, item)
        if item.path in digests:
            by_content.setdefault(digests[item.path], item)
    pairs = []
    for item in first:
        same = by_path.get(item.path)
        if same is None and item.path in digests:
            same = by_content.get(digests[item.path])
        if same is not None:
            pairs.append((item, same))
    return pairs


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
    example = one.path if one.path == other.path else f"{one.path} is {other.path}"
    images = "1 image of" if len(pairs) == 1 else f"{len(pairs):,} images of"
    return f"{images} {first} in {second} too ({example})"
