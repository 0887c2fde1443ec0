"""Bytes of an image file to 8-bit RGB.

Images of 8 bits per channel are decoded as CLIP's own code does it, `image.convert("RGB")`. That
call clips wider values to 0 to 255, so that a 16-bit photograph turns white; here they are scaled.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vtclip.errors import UserError

# Pillow opens some fifty more, of which many are seldom used and seldom tested
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
# Pillow's own limit, beyond which an image is taken for one that is made to fill the memory
MAX_PIXELS = 178_956_970

_LARGEST_16 = 2**16 - 1
# 65535 / 255
_STEP_16 = 257

# what Pillow's decoders raise on files that are damaged; they read most headers without checks
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)


def decode_image(content: bytes, path: Path) -> Image.Image:
    """Decode an image by its content, to RGB, leaving EXIF orientation aside (as CLIP does).

    Values of 16 bits are divided by 257 and rounded, floating-point ones in 0 to 1 are multiplied
    by 255 and rounded. Of several frames the first is taken, and transparency is dropped.

    Args:
        content: the bytes of the file.
        path: the file, for messages.

    Raises:
        UserError: the bytes are no whole image of one of :data:`FORMATS`, have more than
            :data:`MAX_PIXELS` pixels, or values of an unknown range.
    """
    try:
        with warnings.catch_warnings():
            # given from half of the limit on, where large photographs are
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return to_rgb(image, path)
    except UnidentifiedImageError:
        raise UserError(f"{path}: not an image of the formats {', '.join(FORMATS)}.") from None
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except _DAMAGE as error:
        raise UserError(f"{path}: damaged image ({str(error) or type(error).__name__}).") from error


def to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """Return an image of any mode as 8-bit RGB (see :func:`decode_image`).

    Args:
        image: an opened or a made one.
        path: the file, or a name for messages.

    Raises:
        UserError: it is too large, or has values of an unknown range.
    """
    _check_size(image, path)
    if image.mode == "F":
        return _from_floats(np.asarray(image, np.float64), path)
    if image.mode.startswith("I"):
        return _from_integers(image, path)
    return image.convert("RGB")


def _check_size(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path)


def _too_large(path: Path) -> UserError:
    return UserError(f"{path}: more than {MAX_PIXELS:,} pixels; make it smaller.")


def _from_integers(image: Image.Image, path: Path) -> Image.Image:
    """Scale values of 16 bits, or of 32 bits that are in the range of 16 or of 8."""
    values = np.asarray(image).astype(np.int64)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > _LARGEST_16:
        raise UserError(
            f"{path}: has values from {lowest} to {highest}; known are 0 to 255 and 0 to "
            f"{_LARGEST_16}; save it with 8 bits per channel."
        )
    # a PNG file has 16 bits where Pillow says 32; of the others, those with 8 bits are left
    if image.mode == "I" and image.format != "PNG" and highest <= 255:
        return _from_grey(values)
    return _from_grey((values + _STEP_16 // 2) // _STEP_16)


def _from_floats(values: NDArray[np.float64], path: Path) -> Image.Image:
    lowest, highest = float(values.min()), float(values.max())
    # written so that it is False for NaN
    if not (lowest >= 0 and highest <= 1):
        raise UserError(
            f"{path}: has floating-point values from {lowest:g} to {highest:g}; known are 0 to 1; "
            "save it with 8 bits per channel."
        )
    return _from_grey(np.rint(values * 255))


def _from_grey(values: NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")
