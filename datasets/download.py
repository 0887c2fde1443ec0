"""Files from the network: resumed where a download broke off, checked where facts are known."""

from __future__ import annotations

import hashlib
import re
import sys
import time
from pathlib import Path

import requests
from tqdm import tqdm

from vtclip.errors import UserError

from .sources import Remote

TIMEOUT_S = (10.0, 60.0)  # to connect, and between two pieces
PAUSE_S = 2.0
# in a row, without a byte gained
MAX_FAILURES = 5
# what a broken transfer loses at most
PIECE = 1 << 16
DRIVE = "drive:"


class _Broken(Exception):
    """A transfer that ended early and may be taken up again."""


class _Refused(Exception):
    """An address that will not give the file, however often it is asked."""


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
                    _from_web(url, part)
                _verify(part, remote)
            except _Refused as problem:
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
        raise _Refused(problem)


def _from_web(url: str, part: Path) -> None:
    """Download to `part`, going on from the bytes that it holds."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _transfer(url, part, before)
            return
        except (_Broken, requests.ConnectionError, requests.Timeout) as problem:
            reason: Exception = problem
        except requests.exceptions.ChunkedEncodingError as problem:
            reason = problem
        except requests.RequestException as problem:
            raise _Refused(str(problem)) from problem
        after = part.stat().st_size if part.exists() else 0
        failures = 0 if after > before else failures + 1
        if failures >= MAX_FAILURES:
            raise _Refused(f"{after:,} bytes, then {reason}") from reason
        time.sleep(PAUSE_S)


def _transfer(url: str, part: Path, have: int) -> None:
    """Ask once for what is missing and write it.

    Raises:
        _Broken: the transfer ended early.
        _Refused: the server will not give the file.
    """
    tag = part.with_name(part.name + ".tag")
    # compressed on the way, sizes and ranges would count other bytes
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.is_file():
            headers["If-Range"] = tag.read_text(encoding="ascii")
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as reply:
        span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", reply.headers.get("Content-Range", ""))
        if reply.status_code == 416 and span and int(span[2]) == have:
            return
        if reply.status_code == 416 or (
            reply.status_code == 206 and (not span or span[1] is None or int(span[1]) != have)
        ):
            part.unlink(missing_ok=True)
            raise _Broken("the server gave another range than was asked for")
        if reply.status_code >= 500:
            raise _Broken(f"HTTP status {reply.status_code}")
        if reply.status_code not in (200, 206):
            raise _Refused(f"HTTP status {reply.status_code}")
        resumed = reply.status_code == 206
        length = reply.headers.get("Content-Length")
        total = int(span[2]) if resumed and span else int(length) if length else None
        etag = reply.headers.get("ETag", "")
        if etag.startswith('"') and etag.isascii():
            tag.write_text(etag, encoding="ascii")
        else:
            tag.unlink(missing_ok=True)
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(
                total=total,
                initial=have if resumed else 0,
                unit="B",
                unit_scale=True,
                desc=part.stem,
                disable=None,
            ) as bar,
        ):
            for piece in reply.iter_content(PIECE):
                file.write(piece)
                bar.update(len(piece))
    size = part.stat().st_size
    if total is not None and size < total:
        raise _Broken(f"ended at byte {size:,} of {total:,}")
    tag.unlink(missing_ok=True)


def _from_drive(identifier: str, part: Path) -> None:
    # gdown imports a parser of HTML
    import gdown

    # version 6 has a common error, version 5 only this one
    failed = vars(gdown.exceptions).get("DownloadError", gdown.exceptions.FileURLRetrievalError)
    try:
        gdown.download(id=identifier, output=str(part), quiet=not sys.stderr.isatty(), resume=True)
    except (failed, requests.RequestException) as error:
        raise _Refused(str(error)) from error
    if not part.is_file():
        raise _Refused("Google Drive gave nothing")
