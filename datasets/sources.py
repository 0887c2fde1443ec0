"""Where the files of a dataset come from, as facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .split import check_labels, read_split


@dataclass(frozen=True)
class Remote:
    """A file on the network.

    Attributes:
        urls: https or http addresses to try in this order; "drive:ID" is a Google Drive file.
        name: what to call it on disk.
        md5: of the whole file, "" where it is not known.
        sha256: likewise.
        size: in bytes, 0 where it is not known.
    """

    urls: tuple[str, ...]
    name: str
    md5: str = ""
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True)
class Single:
    """A file that is used as it is.

    Attributes:
        remote: where it comes from.
        target: where it goes, relative to the data root.
        check: raises a UserError where the file it is given cannot be right, such as a page of
            HTML that came in its place.
    """

    remote: Remote
    target: str
    check: Callable[[Path], object]


@dataclass(frozen=True)
class Archive:
    """A tar or zip file of which folders and files are used.

    Attributes:
        remote: where it comes from.
        moves: (path inside the archive, where it goes relative to the data root), each.
        inner: the path of an archive inside this one that holds the files, "" for this one.
    """

    remote: Remote
    moves: tuple[tuple[str, str], ...]
    inner: str = ""


Source = Single | Archive


def drive(identifier: str) -> str:
    """Return the address of a file on Google Drive, by its id."""
    return f"drive:{identifier}"


def split_from_drive(identifier: str, target: str, sha256: str = "") -> Single:
    """Return the source of an official split file on Google Drive."""
    remote = Remote((drive(identifier),), target.rpartition("/")[2], sha256=sha256)
    return Single(remote, target, check_split)


def check_split(path: Path) -> None:
    """Check that a file is a split file.

    Raises:
        UserError: it is not.
    """
    check_labels(read_split(path, ""), path)
