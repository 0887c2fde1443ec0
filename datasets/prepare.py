"""Bring a dataset into the data root: download, unpack, put in place."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock

from vtclip.errors import UserError

from .base import ImageDataset
from .download import download
from .sources import Archive, Source
from .split import Sizes
from .unpack import BadArchive, unpack

WORK_FOLDER = ".downloads"


def _targets(source: Source) -> list[str]:
    if isinstance(source, Archive):
        return [target for _, target in source.moves]
    return [source.target]


def _is_there(source: Source, root: Path) -> bool:
    return all((root / target).exists() for target in _targets(source))


def _put(path: Path, target: Path) -> None:
    """Give `path` its final name; what already has that name is whole and stays."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def _unpack_anew(archive: Path, folder: Path) -> None:
    # what an interrupted run left is not to be trusted
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

    Args:
        source: what to bring.
        root: the data root.
        work: a folder on the same disk for what is not yet whole.

    Raises:
        UserError: the download or the archive is bad; nothing is put in place then.
    """
    if _is_there(source, root):
        return
    file = download(source.remote, work)
    if not isinstance(source, Archive):
        _put(file, root / source.target)
        return
    folder = work / "unpacked"
    _unpack_anew(file, folder)
    if source.inner:
        inner = folder / source.inner
        if not inner.is_file():
            raise UserError(f"{file}: lacks {source.inner}; remove it to download it anew.")
        _unpack_anew(inner, work / "inner")
        folder = work / "inner"
    for name, _ in source.moves:
        if not (folder / name).exists():
            raise UserError(f"{file}: lacks {name}; remove it to download it anew.")
    for name, target in source.moves:
        _put(folder / name, root / target)


def _install_all(dataset: ImageDataset) -> None:
    root, work = dataset.root, dataset.root / WORK_FOLDER / dataset.key
    if all(_is_there(source, root) for source in dataset.sources):
        return
    try:
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work.with_suffix(".lock")):
            for source in dataset.sources:
                install(source, root, work)
            shutil.rmtree(work)
    except OSError as error:
        raise UserError(f"{root}: cannot be written ({error.strerror or error}).") from error


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
