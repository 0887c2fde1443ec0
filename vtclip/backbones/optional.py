"""Libraries that backbones need and the package does without."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vtclip.backbones.base import fingerprint_of
from vtclip.errors import UserError, shortened
from vtclip.extras import absent_line
from vtclip.screen import say

# punctuation, capitals, digits and a sign beyond ASCII tell tokenizers apart
PROBE = "A photo of 12 cafés, it's blue."
INTERPOLATIONS = ("bicubic", "bilinear", "nearest")


@contextmanager
def needs_extra(name: str, extra: str) -> Iterator[None]:
    """Turn the absence of a package in the block into one line that names the extra.

    Args:
        name: of the backbone.
        extra: of this package, which installs what is needed.

    Raises:
        UserError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(absent_line(extra, f"backbone {name}", [str(error.name)])) from error


@contextmanager
def one_line(name: str, task: str) -> Iterator[None]:
    """Turn what a library raises for bad names, files and networks in the block into one line.

    Its warnings and the lines that it logs are not shown.

    Args:
        name: of the backbone.
        task: what is done, "its tokenizer".

    Raises:
        UserError: the library gave up.
    """
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModuleNotFoundError:
        raise
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AssertionError) as error:
        reason = shortened(" ".join(str(error).split()) or type(error).__name__, 200)
        raise UserError(f"MODEL.BACKBONE.NAME: {name}: {task} cannot be had ({reason}).") from error
    finally:
        logging.disable(before)


def say_if_squeezed(name: str) -> None:
    """Say that the preprocessing differs, for models that were trained on squeezed images."""
    say(
        f"{name}: trained on images squeezed to a square; here the shorter side is resized and the "
        "centre cut out, which differs for images that are no squares"
    )


def interpolation_of(name: str, wanted: str) -> str:
    """Return an interpolation that images can be resized by, with a line where it is another."""
    if wanted in INTERPOLATIONS:
        return wanted
    say(f"{name}: images are resized by bicubic interpolation, where it names {wanted!r}")
    return "bicubic"


def fingerprint(weights: Mapping[str, Tensor], structure: Any, probe: Tensor) -> str:
    """Return a digest of all that decides the features of a model.

    Args:
        weights: by name.
        structure: what the weights do not tell, such as heads and activation; plain values.
        probe: the token ids of the text `PROBE`.
    """
    told = json.dumps(structure, sort_keys=True, default=str)
    parts = (fingerprint_of(weights), told, str(probe.to(torch.int64).tolist()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
