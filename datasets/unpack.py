"""Archives from strangers, unpacked so that nothing lands outside the folder."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from vtclip.errors import UserError, reason_of
from vtclip.screen import progress

from .split import safe_path

BLOCK = 1 << 20
# images hardly shrink; an archive of zeros shrinks by 1,000
LARGEST_RATIO = 20
SPARE_BYTES = 1 << 30
# what a file counts for at least, so that empty ones are limited too
LEAST_BYTES = 512


class BadArchive(UserError):
    """The archive itself is at fault, and should be fetched anew or not at all."""


def _destination(archive: Path, folder: Path, name: str) -> Path:
    clean = name.removeprefix("./").rstrip("/")
    if name.startswith("/") or not safe_path(clean):
        raise BadArchive(
            f"{archive}: holds {name!r}, which leaves the folder; do not use this file."
        )
    return folder / clean


def _tar_files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                continue
            file = tar.extractfile(member) if member.isreg() else None
            if file is None:
                raise BadArchive(
                    f"{archive}: holds {member.name!r}, a link or device; do not use this file."
                )
            yield member.name, file
        # a tar file ends in a block of zeros, or was cut between two files
        if tar.fileobj and tar.fileobj.tell() <= tar.offset:
            raise BadArchive(f"{archive}: truncated or corrupt (it has no end).")
        # compressors keep their checksum behind the last file
        while tar.fileobj and tar.fileobj.read(BLOCK):
            pass


def _zip_files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as content:
        for member in content.infolist():
            if member.is_dir():
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise BadArchive(
                    f"{archive}: holds {member.filename!r}, a link or device; do not use this file."
                )
            with content.open(member) as file:
                yield member.filename, file


def _copy(file: IO[bytes], target: Path, limit: int) -> int:
    """Write a file and return what it counts for; stops behind `limit` bytes."""
    count = 0
    with target.open("wb") as written:
        while count <= limit and (piece := file.read(BLOCK)):
            written.write(piece)
            count += len(piece)
    return max(count, LEAST_BYTES)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar (plain, gz, bz2, xz) or zip file into `folder`, which should be new.

    Only regular files are written, each below `folder`, none executable.

    Raises:
        BadArchive: the archive is truncated or corrupt, unpacks to far more than images can, or
            holds a path that leaves the folder, a link or a device.
        UserError: the folder cannot be written.
    """
    members = _zip_files if zipfile.is_zipfile(archive) else _tar_files
    try:
        limit = left = LARGEST_RATIO * archive.stat().st_size + SPARE_BYTES
        with progress(f"unpacking {archive.name}", None, "files") as bar:
            for name, file in members(archive):
                target = _destination(archive, folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                left -= _copy(file, target, left)
                if left < 0:
                    raise BadArchive(
                        f"{archive}: unpacks to more than {limit:,} bytes; do not use this file."
                    )
                bar.advance(1)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        ValueError,
        OverflowError,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        raise BadArchive(f"{archive}: truncated or corrupt ({reason_of(error)}).") from error
    except RuntimeError as error:
        # encrypted, or an unknown compression
        raise BadArchive(f"{archive}: cannot be unpacked ({reason_of(error)}).") from error
    except OSError as error:
        # compressors report spoilt data so too, but it is no error of the system's
        if error.errno is None:
            raise BadArchive(f"{archive}: truncated or corrupt ({reason_of(error)}).") from error
        raise UserError(f"{archive}: cannot be unpacked ({error.strerror or error}).") from error
