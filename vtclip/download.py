"""Files from the web: resumed after a break, checked, and whole or absent."""

from __future__ import annotations

import sys
from pathlib import Path

import requests
from tqdm import tqdm

from vtclip.errors import UserError
from vtclip.files import sha256_of_file

TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, between two blocks
BLOCK = 1 << 20


def download(url: str, target: Path, *, sha256: str = "", size: int | None = None) -> None:
    """Download `url` to `target`; a broken download is kept beside it and resumed by the next call.

    Args:
        url: http or https.
        target: the file to make.
        sha256: expected digest in hexadecimal; "" where none is known.
        size: expected number of bytes; None where it is not known.

    Raises:
        UserError: the server cannot be reached or refuses, the download broke off, or what came
            is not what was expected (it is deleted then).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    try:
        _fetch(url, partial)
    except requests.RequestException as error:
        raise UserError(
            f"{url}: download failed ({type(error).__name__}); run again to resume, or put the "
            f"file at {target} by hand."
        ) from error
    except OSError as error:
        raise UserError(f"{partial}: cannot be written ({error.strerror}).") from error
    got_size = partial.stat().st_size
    if size is not None and got_size != size:
        partial.unlink()
        raise UserError(f"{url}: {got_size:,} bytes came instead of {size:,}; run again.")
    if sha256 and sha256_of_file(partial) != sha256:
        partial.unlink()
        raise UserError(f"{url}: what came has another SHA-256 than expected; run again.")
    partial.replace(target)


def _fetch(url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is left to fetch; the caller's checks decide
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        have = have if resumed else 0
        length = int(response.headers.get("Content-Length", 0))
        with (
            partial.open("ab" if resumed else "wb") as file,
            tqdm(
                desc=partial.stem,
                total=have + length or None,
                initial=have,
                unit="B",
                unit_scale=True,
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            for block in response.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
        if length and partial.stat().st_size != have + length:
            raise requests.ConnectionError("the connection closed early")
