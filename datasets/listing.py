"""What is in folders of images, found out by listing each folder once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from vtclip.errors import UserError
from vtclip.files import printable, user_path

from .split import Item

# of the formats that vtclip.features.pixels opens
SUFFIXES = frozenset({"jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "webp", "tif", "tiff"})
# what macOS and some file servers put beside the real files
SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir"})
EXAMPLES = 2

HIDDEN = "hidden"
NO_IMAGE = "of another suffix than " + ", ".join(sorted(SUFFIXES))
OUTSIDE = "outside the class folders"
BESIDE = "beside the parts"


class LeftOut:
    """Counts of what a listing leaves out, by reason, each with a few examples."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, path: str) -> None:
        """Count `path`."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(printable(path))

    def __str__(self) -> str:
        """Return one line, "" where nothing is left out."""
        parts = []
        for reason, count in self._counts.items():
            more = ", ..." if count > EXAMPLES else ""
            parts.append(f"{count:,} {reason} ({', '.join(self._examples[reason])}{more})")
        return f"left out: {'; '.join(parts)}" if parts else ""


def is_utf8(text: str) -> bool:
    """Tell whether `text`, such as a path from the system, can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # Python reads bytes that are not UTF-8 as lone surrogates, which cannot be encoded
        return False
    return True


def require_utf8(folder: str | Path, names: list[str]) -> None:
    """Check that `names`, found in `folder`, are UTF-8.

    Raises:
        UserError: one is not.
    """
    # all at once, since there may be a million
    if is_utf8("/".join(names)):
        return
    bad = next(name for name in names if not is_utf8(name))
    raise UserError(
        f"{printable(folder)}: holds {printable(bad)}, a name that is not UTF-8, so that logs and "
        "lists cannot hold it; rename it."
    )


def _scan(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"{printable(folder)}: cannot be listed ({error.strerror}).") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        # a link to itself, for one
        raise UserError(f"{printable(entry.path)}: cannot be read ({error.strerror}).") from error


def _is_image(name: str) -> bool:
    _, dot, suffix = name.rpartition(".")
    return bool(dot) and suffix.lower() in SUFFIXES


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in `folder`, sorted, hidden ones left out.

    Raises:
        UserError: `folder` cannot be listed, or a name in it is not UTF-8.
    """
    names = [e.name for e in _scan(folder) if not _is_hidden(e.name) and _is_folder(e)]
    require_utf8(folder, names)
    return sorted(names)


def files(folder: Path) -> list[str]:
    """Return the names of the files in `folder`, sorted, hidden ones left out.

    Raises:
        UserError: `folder` cannot be listed, or a name in it is not UTF-8.
    """
    names = [e.name for e in _scan(folder) if not _is_hidden(e.name) and not _is_folder(e)]
    require_utf8(folder, names)
    return sorted(names)


def images(folder: Path) -> list[str]:
    """Return the files in `folder` whose name ends like an image's, sorted."""
    return [name for name in files(folder) if _is_image(name)]


def image_tree(
    folder: Path,
    prefix: str = "",
    left_out: LeftOut | None = None,
    seen: dict[str, str] | None = None,
) -> list[str]:
    """Return the images below `folder`, relative to it with forward slashes, sorted by folder.

    Links to folders are followed, but each folder is visited once.

    Args:
        folder: where to look.
        prefix: what to put in front of each path, "" or ending in a slash.
        left_out: counts what is no image.
        seen: the folders visited before, of other trees that must not share a folder with this
            one: the real path of each, and the path by which it was reached; is added to.

    Raises:
        UserError: a folder cannot be listed, is reached twice by a link, or holds a name that is
            not UTF-8.
    """
    left_out = LeftOut() if left_out is None else left_out
    seen = {} if seen is None else seen
    found: list[str] = []
    # a loop and not a recursion, since folders may nest deeper than Python's stack
    waiting = [(str(folder), os.path.realpath(folder), prefix)]
    while waiting:
        path, real, start = waiting.pop()
        if real in seen:
            raise UserError(
                f"{path}: a link makes it the same folder as {seen[real]}; remove the link."
            )
        seen[real] = path
        pictures, nested = [], []
        for entry in sorted(_scan(path), key=lambda entry: entry.name):
            if _is_hidden(entry.name):
                left_out.add(HIDDEN, start + entry.name)
            elif _is_folder(entry):
                nested.append(entry)
            elif _is_image(entry.name):
                pictures.append(entry.name)
            else:
                left_out.add(NO_IMAGE, start + entry.name)
        require_utf8(path, [*pictures, *(entry.name for entry in nested)])
        found += [start + name for name in pictures]
        waiting += [
            (entry.path, _real_path(entry, real), f"{start}{entry.name}/")
            for entry in reversed(nested)
        ]
    return found


def named_images(named: Sequence[str]) -> list[Path]:
    """Return the files that are named, and all images below the folders that are.

    Raises:
        UserError: there is no such file or folder, or a folder holds no images.
    """
    found: list[Path] = []
    for text in named:
        path = user_path(text, "IMAGE")
        if path.is_dir():
            left_out = LeftOut()
            images = [path / name for name in image_tree(path, left_out=left_out)]
            if not images:
                raise UserError(f"{path}: holds no images ({left_out or 'it is empty'}).")
            found += images
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such image or folder.")
    return found


def _real_path(entry: os.DirEntry[str], parent: str) -> str:
    """Return the path of a folder without links; `parent` is that of the folder it is in."""
    if not entry.is_symlink():
        return f"{parent.rstrip('/')}/{entry.name}"
    real = os.path.realpath(entry.path)
    if f"{parent}/".startswith(f"{real.rstrip('/')}/"):
        raise UserError(f"{entry.path}: a link to a folder that it lies in; remove the link.")
    return real


def missing_images(root: Path, items: Iterable[Item]) -> list[str]:
    """Return the paths of `items` that are not below `root`, asking each folder once."""
    folders: dict[str, set[str]] = {}
    missing = []
    for item in items:
        folder, _, name = item.path.rpartition("/")
        names = folders.get(folder)
        if names is None:
            path = root / folder
            # unlike Path.is_dir, this is False for a name that is too long
            listed = _scan(path) if os.path.isdir(path) else []  # noqa: PTH112
            names = folders[folder] = {entry.name for entry in listed}
        if name not in names:
            missing.append(item.path)
    return missing
