"""The digest by which few-shot lists are compared across machines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

# path relative to the data root, label, class name
Entry = tuple[str, int, str]


def digest_of(entries: Iterable[Entry]) -> str:
    """Return the SHA-256 of an ordered list of images.

    Args:
        entries: (path relative to the data root with forward slashes, label, class name) each.

    Returns:
        The hexadecimal digest of one line per image: path, tab, label, tab, class name, newline.
    """
    digest = hashlib.sha256()
    for path, label, classname in entries:
        digest.update(f"{path}\t{label}\t{classname}\n".encode())
    return digest.hexdigest()
