from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.check import broken_images
from datasets.listing import SUFFIXES
from vtclip.errors import UserError
from vtclip.features import Encoding, image_features
from vtclip.features import pixels as module
from vtclip.features.keys import image_keys
from vtclip.features.pixels import FORMATS, decode_image

HERE = Path("folder/photo.png")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()


def grey(content: bytes) -> list[list[int]]:
    """Return the values of an image that must be grey."""
    image = decode_image(content, HERE)
    assert image.mode == "RGB"
    values = np.asarray(image)
    assert (values == values[..., :1]).all()
    return values[..., 0].tolist()


WIDE = np.array([[0, 128, 129, 257], [385, 386, 32767, 32768], [32896, 65278, 65406, 65535]])
NARROW = [[0, 0, 1, 1], [1, 2, 127, 128], [128, 254, 254, 255]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(kind: str) -> None:
    assert grey(encoded(Image.fromarray(WIDE.astype(np.uint16)), kind)) == NARROW


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_in_either_order(order: str) -> None:
    mode = {"<": "I;16", ">": "I;16B"}[order]
    image = Image.frombytes(mode, (4, 3), WIDE.astype(f"{order}u2").tobytes())
    assert grey(encoded(image, "TIFF")) == NARROW


def test_all_values_of_sixteen_bits_are_the_nearest_of_eight() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(values / 257).astype(int).tolist()
    assert grey(encoded(Image.fromarray(values))) == expected


def test_eight_bits_widened_to_sixteen_come_back() -> None:
    eight = np.random.default_rng(0).integers(0, 256, (9, 7)).astype(np.uint16)
    assert grey(encoded(Image.fromarray(eight * 257))) == eight.tolist()


def test_thirty_two_bits_in_a_known_range() -> None:
    assert grey(encoded(Image.fromarray(WIDE.astype(np.int32)), "TIFF")) == NARROW
    eight = np.array([[0, 7], [200, 255]], np.int32)
    assert grey(encoded(Image.fromarray(eight), "TIFF")) == eight.tolist()


def test_floats_from_0_to_1() -> None:
    values = np.array([[0.0, 0.25, 0.5], [1 / 255, 0.999, 1.0]], np.float32)
    assert grey(encoded(Image.fromarray(values), "TIFF")) == [[0, 64, 128], [1, 255, 255]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0.0, 255.0]], np.float32), "floating-point values from 0 to 255"),
        (np.array([[-0.5, 1.0]], np.float32), "floating-point values from -0.5 to 1"),
        (np.array([[0.0, np.nan]], np.float32), "floating-point values from nan to nan"),
        (np.array([[0.0, np.inf]], np.float32), "floating-point values from 0 to inf"),
        (np.array([[0, 65536]], np.int32), "values from 0 to 65536"),
        (np.array([[-1, 5]], np.int32), "values from -1 to 5"),
    ],
)
def test_other_ranges_are_refused_with_the_name(values: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=f"{HERE}: has {message}"):
        decode_image(encoded(Image.fromarray(values), "TIFF"), HERE)


def test_modes_of_eight_bits_have_the_colours_that_were_saved() -> None:
    red, clear = (200, 30, 40), (200, 30, 40, 0)
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([0, 0, 0, *red])
    cmyk = Image.new("CMYK", (1, 1), (0, 255, 255, 55))
    saved = {
        "RGB": encoded(Image.new("RGB", (1, 1), red)),
        "RGBA": encoded(Image.new("RGBA", (1, 1), clear)),
        "P": encoded(palette),
        "P, transparent": encoded(palette, transparency=1),
        "P, transparency of each": encoded(palette, transparency=b"\xff\x00"),
        "GIF": encoded(palette, "GIF"),
        "BMP": encoded(Image.new("RGB", (1, 1), red), "BMP"),
        "WEBP": encoded(Image.new("RGB", (1, 1), red), "WEBP", lossless=True),
    }
    for name, content in saved.items():
        assert decode_image(content, HERE).getpixel((0, 0)) == red, name
    assert decode_image(encoded(cmyk, "TIFF"), HERE).getpixel((0, 0)) == (200, 0, 0)
    assert grey(encoded(Image.new("LA", (1, 1), (77, 3)))) == [[77]]
    assert grey(encoded(Image.new("1", (1, 1), 1))) == [[255]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_eight_bits_are_decoded_as_convert_does(mode: str, kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (12, 10, 4), dtype=np.uint8)
    source = Image.fromarray(noise).convert("RGB" if mode in ("P", "CMYK") else "RGBA")
    try:
        content = encoded(source.convert(mode), kind)
    except (OSError, KeyError, ValueError):
        pytest.skip(f"{kind} holds no {mode}")
    with Image.open(io.BytesIO(content)) as image:
        expected = image.convert("RGB")
    decoded = decode_image(content, HERE)
    assert decoded.mode == "RGB"
    assert decoded.tobytes() == expected.tobytes()


def test_a_jpeg_of_several_pictures_is_its_first() -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    content = encoded(first, "MPO", save_all=True, append_images=[second])
    red, _, blue = decode_image(content, HERE).getpixel((3, 3))
    assert red > 200 > 50 > blue


@pytest.mark.parametrize("kind", ["PPM", "TGA", "PCX", "ICO", "PDF", "EPS", "SGI"])
def test_other_formats_are_refused_whatever_their_suffix(kind: str) -> None:
    content = encoded(Image.new("RGB", (16, 16)), kind)
    with pytest.raises(UserError, match=f"{HERE}: not an image of the formats JPEG, PNG"):
        decode_image(content, HERE)


def test_every_suffix_that_is_listed_is_of_a_format_that_is_opened() -> None:
    known = Image.registered_extensions()
    assert {known[f".{suffix}"] for suffix in SUFFIXES} == set(FORMATS)


def png_of(width: int, height: int) -> bytes:
    """A small PNG file that claims to be large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height, 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_images_that_fill_the_memory_are_refused() -> None:
    for width, height in ((13_379, 13_379), (200_000, 1_000)):
        with pytest.raises(UserError, match=r"photo\.png: more than 178,956,970 pixels"):
            decode_image(png_of(width, height), HERE)


def test_the_limit_holds_where_pillow_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(UserError, match="more than 178,956,970 pixels"):
        decode_image(png_of(200_000, 1_000), HERE)


def test_large_photographs_below_the_limit_give_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(png_of(40, 40), HERE).size == (40, 40)
    monkeypatch.setattr(module, "MAX_PIXELS", 1599)
    with pytest.raises(UserError, match="more than 1,599 pixels"):
        decode_image(png_of(40, 40), HERE)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_are_not_opened(
    kind: str, workers: int, paths: list[Path], encoding: Encoding
) -> None:
    bad = paths[3]
    bad.unlink()
    if kind == "pipe":
        os.mkfifo(bad)
    else:
        bad.symlink_to("/dev/zero")
    expected = f"{bad}: a pipe or device"
    with pytest.raises(UserError, match=expected):
        image_features(paths, encoding, cache=None, batch_size=2, workers=workers)
    for key in ("content", "stat"):
        with pytest.raises(UserError, match=expected):
            image_keys(paths, key)
    assert broken_images(bad.parent, [bad.name]) == {bad.name: "a pipe or device and no file"}
