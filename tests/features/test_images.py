from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vtclip.errors import UserError
from vtclip.features import Encoding, image_features
from vtclip.features.images import ImageFiles, decode_image, image_batches

from .stub import plain_transform, write_images


def noisy_transform(image: Image.Image) -> Tensor:
    """Draw from all three generators."""
    noise = random.random() + float(np.random.rand())
    return plain_transform(image) + noise + torch.rand(())


def batches_of(paths: list[Path], encoding: Encoding, workers: int = 0) -> Tensor:
    files = ImageFiles(paths, encoding)
    rows = torch.split(torch.arange(len(paths)), 4)
    batches = [r.tolist() for r in rows]
    return torch.cat(list(image_batches(files, batches, workers=workers, pin_memory=False)))


@pytest.mark.parametrize("workers", [0, 2])
def test_views_depend_on_content_and_number_alone(
    paths: list[Path], encoding: Encoding, tmp_path: Path, workers: int
) -> None:
    view = replace(encoding, transform=noisy_transform, view=0)
    first = batches_of(paths, view)
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)
    copies = []
    for path in reversed(paths):
        copies.append(tmp_path / f"copy-{path.name}")
        copies[-1].write_bytes(path.read_bytes())
    assert torch.equal(batches_of(copies, view, workers).flip(0), first)
    other = batches_of(paths, replace(view, view=1))
    assert (other != first).flatten(1).any(1).all()


def test_views_of_one_list_differ_between_images(paths: list[Path], encoding: Encoding) -> None:
    view = replace(encoding, transform=noisy_transform, view=0)
    noise = batches_of(paths, view) - batches_of(paths, encoding)
    assert len(noise[:, 0, 0, 0].unique()) == len(paths)


@pytest.mark.parametrize("workers", [0, 2])
def test_generators_are_left_as_they_were(
    paths: list[Path], encoding: Encoding, workers: int
) -> None:
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    expected = (torch.rand(1).item(), random.random(), np.random.rand())
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    view = replace(encoding, transform=noisy_transform, view=3)
    image_features(paths, view, cache=None, batch_size=4, workers=workers)
    assert (torch.rand(1).item(), random.random(), np.random.rand()) == expected


def test_images_are_opened_by_content_in_rgb_without_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees"
    path = tmp_path / "misnamed.jpg"
    Image.new("L", (8, 4), 7).save(path, format="PNG", exif=exif)
    image = decode_image(path.read_bytes(), path)
    assert (image.mode, image.size) == ("RGB", (8, 4))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "empty", "folder"])
def test_a_bad_file_is_one_line_with_its_name(
    paths: list[Path], encoding: Encoding, damage: str, workers: int
) -> None:
    bad = paths[7]
    content = bad.read_bytes()
    bad.unlink()
    if damage == "truncated":
        bad.write_bytes(content[:-200])
    elif damage == "text":
        bad.write_text("not pixels")
    elif damage == "empty":
        bad.touch()
    elif damage == "folder":
        bad.mkdir()
    with pytest.raises(UserError) as raised:
        image_features(paths, encoding, cache=None, batch_size=2, workers=workers)
    message = str(raised.value)
    assert message.startswith(f"{bad}: ")
    assert "\n" not in message
    assert "Traceback" not in message


def test_a_file_that_changes_meanwhile_is_refused(paths: list[Path], encoding: Encoding) -> None:
    files = ImageFiles(paths[:1], encoding, [bytes(32)])
    with pytest.raises(UserError, match="changed while"):
        next(image_batches(files, [[0]], workers=0, pin_memory=False))


def test_features_that_overflow_are_refused(tmp_path: Path, encoding: Encoding) -> None:
    paths = write_images(tmp_path, 3)
    broken = replace(encoding, transform=lambda image: plain_transform(image) * float("inf"))
    with pytest.raises(UserError, match=r"0\.png: its global features are not finite in fp32"):
        image_features(paths, broken, cache=None, workers=0)
