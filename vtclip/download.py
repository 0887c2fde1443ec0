"""Files from the web: resumed where a download broke off, checked, and whole or absent."""

from __future__ import annotations

import re
import time
from pathlib import Path

import requests

from vtclip.errors import UserError
from vtclip.files import sha256_of_file
from vtclip.screen import BYTES, progress

TIMEOUT_S = (10.0, 60.0)  # to connect, and between two pieces
PAUSE_S = 2.0
# in a row, without a byte gained
MAX_FAILURES = 5
# what a broken transfer loses at most
PIECE = 1 << 16


class Refused(Exception):
    """An address that does not give the file; another try is of no use."""


class _Broken(Exception):
    """A transfer that ended early and may be taken up again."""


def download(url: str, target: Path, sha256: str) -> None:
    """Download `url` to `target`, whole and as expected or not at all.

    Args:
        url: http or https.
        target: the file to make; a broken download is kept beside it for the next call.
        sha256: expected digest in hexadecimal.

    Raises:
        UserError: the address does not give the file, it is another one (and deleted), or
            it cannot be written.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch(url, part)
        if sha256_of_file(part) != sha256:
            part.unlink()
            raise Refused("what came has another SHA-256 than is known")
        part.replace(target)
    except Refused as problem:
        raise UserError(f"{url}: {problem}.") from problem
    except OSError as error:
        raise UserError(f"{part}: cannot be written ({error.strerror or error}).") from error


def fetch(url: str, part: Path) -> None:
    """Download `url` to `part`, going on from the bytes that it holds, and again after a break.

    Args:
        url: http or https.
        part: the file to make; it is kept where the download ends early.

    Raises:
        Refused: the address will not give the file.
        OSError: `part` cannot be written.
    """
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
            raise Refused(str(problem)) from problem
        after = part.stat().st_size if part.exists() else 0
        failures = 0 if after > before else failures + 1
        if failures >= MAX_FAILURES:
            raise Refused(f"{after:,} bytes, then {reason}") from reason
        time.sleep(PAUSE_S)


def _transfer(url: str, part: Path, have: int) -> None:
    """Ask once for what is missing and write it.

    Raises:
        _Broken: the transfer ended early.
        Refused: the server will not give the file.
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
            raise _Broken("the server gave another range than was requested")
        if reply.status_code >= 500:
            raise _Broken(f"HTTP status {reply.status_code}")
        if reply.status_code not in (200, 206):
            raise Refused(f"HTTP status {reply.status_code}")
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
            progress(f"downloading {part.stem}", total, BYTES, done=have if resumed else 0) as bar,
        ):
            for piece in reply.iter_content(PIECE):
                file.write(piece)
                bar.advance(len(piece))
    size = part.stat().st_size
    if total is not None and size < total:
        raise _Broken(f"ended at byte {size:,} of {total:,}")
    tag.unlink(missing_ok=True)
