"""Bring a dataset into the data root: download, unpack, put in place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vtclip.errors import UserError
from vtclip.files import set_aside

from .base import ImageDataset
from .download import download, fault_of
from .sources import Archive, Single, Source
from .split import Sizes
from .unpack import BadArchive, unpack

WORK_FOLDER = ".downloads"


def _problem(source: Source, root: Path) -> str:
    """Return what is wrong with the files of a source, "" where they are in place."""
    if isinstance(source, Archive):
        absent = [target for _, target in source.moves if not (root / target).exists()]
        return f"{absent[0]} is missing" if absent else ""
    target = root / source.target
    if not target.exists():
        return f"{source.target} is missing"
    return fault_of(target, source.remote, source.check)


def _put(path: Path, target: Path) -> None:
    """Give `path` its final name; what already has that name is whole and stays."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def _unpack_afresh(archive: Path, folder: Path) -> None:
    # what an interrupted run left may be incomplete
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        unpack(archive, folder)
    except BadArchive:
        shutil.rmtree(folder, ignore_errors=True)
        archive.unlink(missing_ok=True)
        raise


def install(source: Source, root: Path, work: Path) -> None:
    """Bring the files of one source to their places; files that are there are left alone.

    A single file that is there but cannot be right is set aside once the right one has come.

    Args:
        source: what to bring.
        root: the data root.
        work: a folder on the same disk for what is not yet whole.

    Raises:
        UserError: the download or the archive is bad; nothing is put in place then.
    """
    problem = _problem(source, root)
    if not problem:
        return
    if isinstance(source, Single):
        _install_single(source, root / source.target, work, problem)
        return
    file = download(source.remote, work)
    folder = work / "unpacked"
    _unpack_afresh(file, folder)
    if source.inner:
        inner = folder / source.inner
        if not inner.is_file():
            raise UserError(f"{file}: lacks {source.inner}; remove it to download it again.")
        _unpack_afresh(inner, work / "inner")
        folder = work / "inner"
    for name, _ in source.moves:
        if not (folder / name).exists():
            raise UserError(f"{file}: lacks {name}; remove it to download it again.")
    for name, target in source.moves:
        _put(folder / name, root / target)


def _install_single(source: Single, target: Path, work: Path, problem: str) -> None:
    if not target.exists():
        _put(download(source.remote, work, source.check), target)
        return
    try:
        file = download(source.remote, work, source.check)
    except UserError as error:
        raise UserError(f"{target}: not the known file ({problem}). {error}") from error
    print(f"{target}: not the known file ({problem}); set aside as {set_aside(target)}")
    _put(file, target)


def _install_all(dataset: ImageDataset) -> None:
    root, work = dataset.root, dataset.root / WORK_FOLDER / dataset.key
    try:
        if not any(_problem(source, root) for source in dataset.sources):
            return
        work.parent.mkdir(parents=True, exist_ok=True)
        with _alone(work.with_suffix(".lock"), dataset.key):
            # what another process put in place while this one waited is seen to be there
            work.mkdir(exist_ok=True)
            for source in dataset.sources:
                install(source, root, work)
            shutil.rmtree(work)
    except OSError as error:
        raise UserError(f"{root}: cannot be written ({error.strerror or error}).") from error


@contextmanager
def _alone(lock: Path, key: str) -> Iterator[None]:
    """Wait until no other process prepares the dataset `key`, and keep others waiting."""
    guard = FileLock(lock)
    try:
        guard.acquire(timeout=0)
    except Timeout:
        print(f"{key}: another process prepares it; waiting for that one", flush=True)
        guard.acquire()
    try:
        yield
    finally:
        guard.release()


def prepare(dataset: ImageDataset) -> Sizes:
    """Bring `dataset` into its data root and return its sizes.

    Raises:
        UserError: a file cannot be had, or files must be fetched by hand (says which and where).
    """
    try:
        _install_all(dataset)
        return dataset.checked(allow_random=False).sizes
    except UserError as error:
        if not dataset.manual:
            raise
        steps = dataset.manual.format(root=dataset.root)
        raise UserError(f"{dataset.key}: to be done by hand: {steps} Now: {error}") from error
