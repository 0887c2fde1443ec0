"""What is in folders of images, found out by listing each folder once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vtclip.errors import UserError

from .split import Item

SUFFIXES = frozenset({"jpg", "jpeg", "png", "gif", "bmp", "webp", "tif", "tiff", "ppm", "pgm"})


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}).") from error


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in `folder`, sorted, hidden ones left out."""
    return sorted(entry.name for entry in _scan(folder) if entry.is_dir())


def files(folder: Path) -> list[str]:
    """Return the names of the files in `folder`, sorted, hidden ones left out."""
    return sorted(entry.name for entry in _scan(folder) if not entry.is_dir())


def images(folder: Path) -> list[str]:
    """Return the files in `folder` whose name ends like an image's, sorted."""
    return [name for name in files(folder) if name.rpartition(".")[2].lower() in SUFFIXES]


def image_tree(folder: Path, prefix: str = "") -> list[str]:
    """Return the images below `folder`, relative to it with forward slashes, sorted by folder."""
    found = [prefix + name for name in images(folder)]
    for name in subfolders(folder):
        found += image_tree(folder / name, f"{prefix}{name}/")
    return found


def missing_images(root: Path, items: Iterable[Item]) -> list[str]:
    """Return the paths of `items` that are not below `root`, asking each folder once."""
    folders: dict[str, set[str]] = {}
    missing = []
    for item in items:
        folder, _, name = item.path.rpartition("/")
        names = folders.get(folder)
        if names is None:
            path = root / folder
            listed = _scan(path) if path.is_dir() else []
            names = folders[folder] = {entry.name for entry in listed}
        if name not in names:
            missing.append(item.path)
    return missing
