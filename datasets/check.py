"""A look at what a data root holds, against what is known."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

from vtclip.errors import UserError
from vtclip.files import require_file
from vtclip.screen import progress

from .base import ImageDataset
from .split import Lists, Sizes, check_labels, describe

OK, ABSENT, WRONG = "ok", "absent", "incomplete"
COLUMNS = ("dataset", "state", *(field.name for field in fields(Sizes)), "what is missing")


@dataclass(frozen=True)
class Finding:
    """What was found of a dataset.

    Attributes:
        key: the dataset.
        state: OK, ABSENT or WRONG.
        lists: what is there, None where it cannot be read.
        known: the sizes it should have.
        problem: one line, "" where there is none.
    """

    key: str
    state: str
    lists: Lists | None
    known: Sizes
    problem: str = ""

    @property
    def row(self) -> list[str]:
        """The cells of :data:`COLUMNS`; a count that differs is given as found / known."""
        cells = []
        for part in (field.name for field in fields(Sizes)):
            known = getattr(self.known, part)
            found = getattr(self.lists.sizes, part) if self.lists else None
            cells.append(f"{known:,}" if found in (None, known) else f"{found:,} / {known:,}")
        return [self.key, self.state, *cells, self.problem]


def inspect(dataset: ImageDataset) -> Finding:
    """Read the lists of `dataset` without writing anything, and compare them with the facts."""
    known = dataset.sizes or Sizes(0, 0, 0, 0)
    if not dataset.folder.is_dir():
        return Finding(dataset.key, ABSENT, None, known, f"{dataset.dataset_dir}/")
    lists = None
    try:
        lists = dataset.read(allow_random=False)
        check_labels(lists, dataset.folder)
        problem = describe(lists.sizes, known)
    except UserError as error:
        # the remedy, after the semicolon, is the same for all and stands below the table
        problem = str(error).partition(";")[0].replace(f"{dataset.root}/", "")
    return Finding(dataset.key, WRONG if problem else OK, lists, known, problem)


def _reason(path: Path) -> str:
    # imports torch, which a look at the lists does without
    from vtclip.features.pixels import decode_image

    try:
        require_file(path)
        decode_image(path.read_bytes(), path)
    except OSError as error:
        return str(error.strerror)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ").rstrip(".")
    return ""


def broken_images(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Open every image and return those that cannot be read, with the reason.

    Args:
        root: the data root.
        paths: relative to `root`.
    """
    listed = sorted(set(paths))
    broken = {}
    with ThreadPoolExecutor() as pool, progress("opening images", len(listed), "images") as bar:
        reasons = pool.map(_reason, (root / path for path in listed))
        for path, reason in zip(listed, reasons, strict=True):
            bar.advance(1)
            if reason:
                broken[path] = reason
    return broken
