"""Files from the network: resumed where a download broke off, checked where facts are known."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import requests

from vtclip.download import Refused, fetch
from vtclip.errors import UserError

from .sources import Remote

DRIVE = "drive:"


def download(remote: Remote, folder: Path) -> Path:
    """Bring a file into `folder` and return its path; a file that is there is taken as it is.

    Raises:
        UserError: no address gives the file, or it is not the file that is known.
    """
    target = folder / remote.name
    if target.is_file():
        return target
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for url in remote.urls:
            part = folder / f"{remote.name}.part"
            try:
                if url.startswith(DRIVE):
                    _from_drive(url.removeprefix(DRIVE), part)
                else:
                    fetch(url, part)
                _verify(part, remote)
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


def _verify(part: Path, remote: Remote) -> None:
    """Refuse a file that is not the known one, and remove it."""
    size = part.stat().st_size
    problem = ""
    if remote.size and size != remote.size:
        problem = f"has {size:,} bytes, known are {remote.size:,}"
    elif remote.md5:
        digest = hashlib.md5(usedforsecurity=False)
        with part.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        if digest.hexdigest() != remote.md5:
            problem = f"has MD5 {digest.hexdigest()}, known is {remote.md5}"
    if problem:
        part.unlink()
        raise Refused(problem)


def _from_drive(identifier: str, part: Path) -> None:
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
