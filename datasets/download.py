"""Files from the network: resumed where a download broke off, checked where facts are known."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import requests

from vtclip.download import Refused, fetch
from vtclip.errors import UserError
from vtclip.extras import require
from vtclip.files import require_file

from .sources import Remote

DRIVE = "drive:"


def download(remote: Remote, folder: Path, check: Callable[[Path], object] | None = None) -> Path:
    """Bring a file into `folder` and return its path.

    Args:
        remote: the file.
        folder: where it goes.
        check: raises a UserError where the file it is given cannot be right. Without it, a file
            that is there is taken as it is, so that an archive may come from a mirror.

    Raises:
        UserError: no address gives the file, or it is not the file that is known.
    """
    target = folder / remote.name
    failures = []
    try:
        if target.is_file():
            fault = fault_of(target, remote, check) if check else ""
            if fault:
                raise UserError(f"{target}: {fault}; remove it to download it again.")
            return target
        folder.mkdir(parents=True, exist_ok=True)
        for url in remote.urls:
            part = folder / f"{remote.name}.part"
            try:
                if url.startswith(DRIVE):
                    _from_drive(url.removeprefix(DRIVE), part)
                else:
                    fetch(url, part)
                _verify(part, remote, check)
            except Refused as problem:
                failures.append(f"{_address(url)}: {problem}")
                continue
            part.replace(target)
            return target
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    raise UserError(
        f"{remote.name}: cannot be downloaded ({'; '.join(failures)}); fetch it by hand to "
        f"{target} and run this again, or see docs/datasets.md on dead links."
    )


def _address(url: str) -> str:
    if url.startswith(DRIVE):
        return f"https://drive.google.com/file/d/{url.removeprefix(DRIVE)}"
    return url


def fault_of(path: Path, remote: Remote, check: Callable[[Path], object] | None = None) -> str:
    """Return why a file cannot be what `remote` gives, "" where it can.

    Args:
        path: the file.
        remote: the facts that are known about it.
        check: as in :func:`download`.

    Raises:
        OSError: it cannot be read.
    """
    try:
        require_file(path)
        if _is_html(path):
            return "is a page of HTML"
        problem = _difference(path, remote)
        if not problem and check:
            check(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ").rstrip(".")
    return problem


def _difference(path: Path, remote: Remote) -> str:
    """Return in what a file differs from the known facts, "" where it agrees with them."""
    size = path.stat().st_size
    if remote.size and size != remote.size:
        return f"has {size:,} bytes, known are {remote.size:,}"
    for name, known in (("MD5", remote.md5), ("SHA-256", remote.sha256)):
        found = _digest(path, name.replace("-", "")) if known else ""
        if found != known:
            return f"has {name} {found}, known is {known}"
    return ""


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _verify(part: Path, remote: Remote, check: Callable[[Path], object] | None) -> None:
    """Refuse a file that is not the known one or cannot be right, and remove it."""
    fault = fault_of(part, remote, check)
    if fault:
        part.unlink()
        raise Refused(fault)


def _is_html(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(1000).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _from_drive(identifier: str, part: Path) -> None:
    require("datasets", "files on Google Drive", ["gdown"])
    # gdown imports a parser of HTML
    import gdown

    # version 6 has a common error, version 5 only this one
    failed = vars(gdown.exceptions).get("DownloadError", gdown.exceptions.FileURLRetrievalError)
    try:
        gdown.download(id=identifier, output=str(part), quiet=not sys.stderr.isatty(), resume=True)
    except (failed, requests.RequestException) as error:
        raise Refused(str(error)) from error
    if not part.is_file():
        raise Refused("Google Drive gave nothing")
