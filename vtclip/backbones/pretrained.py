"""Where the weights of the named backbones are, and how they get there.

Addresses and digests are those of the `clip` package (github.com/openai/CLIP, clip/clip.py).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from vtclip.errors import UserError
from vtclip.files import read_json, sha256_of_file, write_json
from vtclip.screen import say
from vtclip.user_folders import user_cache

DIGESTS = "digests.json"

TINY_WEIGHTS = Path(__file__).parent / "weights" / "tiny.pt"

BASE_URL = "https://openaipublic.azureedge.net/clip/models"

# name: (SHA-256, file name)
OPENAI_WEIGHTS: dict[str, tuple[str, str]] = {
    "RN50": ("afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762", "RN50.pt"),
    "RN101": ("8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599", "RN101.pt"),
    "RN50x4": ("7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd", "RN50x4.pt"),
    "RN50x16": ("52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa", "RN50x16.pt"),
    "RN50x64": ("be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c", "RN50x64.pt"),
    "ViT-B/32": ("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "ViT-B-32.pt"),
    "ViT-B/16": ("5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", "ViT-B-16.pt"),
    "ViT-L/14": ("b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", "ViT-L-14.pt"),
    "ViT-L/14@336px": (
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        "ViT-L-14-336px.pt",
    ),
}


def weights_folder() -> Path:
    """Return the folder of downloaded weights: $VTCLIP_WEIGHTS, or the user's cache folder.

    Raises:
        UserError: the user has no home folder.
    """
    chosen = os.environ.get("VTCLIP_WEIGHTS")
    return Path(chosen) if chosen else user_cache("VTCLIP_WEIGHTS to a folder") / "weights"


def remembered_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; it is computed again where size or time have changed.

    Digests are kept in the file digests.json of :func:`weights_folder`, by absolute path.

    Raises:
        UserError: the file cannot be read.
    """
    record = _record()
    try:
        status = path.stat()
        state = [status.st_size, status.st_mtime_ns]
        known = {} if record is None else _read_digests(record)
        match known.get(str(path.absolute())):
            case [size, time, str() as digest] if [size, time] == state:
                return digest
        digest = sha256_of_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from error
    # a folder that cannot be written costs a digest on each start, nothing else
    if record is not None:
        with contextlib.suppress(UserError):
            write_json(record, {**known, str(path.absolute()): [*state, digest]})
    return digest


def _record() -> Path | None:
    """Return the file of digests, None where the user has no home folder."""
    try:
        return weights_folder() / DIGESTS
    except UserError:
        return None


def _read_digests(record: Path) -> dict[str, Any]:
    """Return what is recorded; nothing where the record is absent or damaged."""
    try:
        known = read_json(record)
    except UserError:
        return {}
    return known if isinstance(known, dict) else {}


def _of_the_clip_package(file_name: str) -> Path | None:
    """Return where the `clip` package keeps a file, None where the user has no home folder."""
    try:
        return Path.home() / ".cache" / "clip" / file_name
    except RuntimeError:
        return None


def find_or_download(name: str) -> Path:
    """Return the file of an OpenAI model's weights; it is downloaded on first use.

    A file that the `clip` package fetched to ~/.cache/clip is used where it is. Either file is
    compared with its known SHA-256. Another file in ~/.cache/clip is passed over with a printed
    line; one in the folder of this package is kept from being overwritten by an error.

    Raises:
        UserError: the file is another one, or it is not there and cannot be downloaded; says
            which file to put where.
    """
    sha256, file_name = OPENAI_WEIGHTS[name]
    target = weights_folder() / file_name
    theirs = _of_the_clip_package(file_name)
    if target.is_file():
        if remembered_sha256(target) != sha256:
            raise UserError(
                f"{target}: not OpenAI's {name} (another SHA-256 than is known), not used; delete "
                "or move it, and the right file is downloaded; to use it, give its path as "
                "MODEL.BACKBONE.NAME."
            )
        return target
    if theirs is not None and theirs.is_file():
        if remembered_sha256(theirs) == sha256:
            return theirs
        say(f"{theirs}: not OpenAI's {name} (another SHA-256 than is known), not used.")
    # the network's modules are slow to import, and used once a model
    from vtclip.download import download

    url = f"{BASE_URL}/{sha256}/{file_name}"
    try:
        download(url, target, sha256)
    except UserError as error:
        raise UserError(
            f"backbone {name}: put {file_name} at {target} (from {url}): {error}"
        ) from error
    return target
