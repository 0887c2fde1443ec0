"""Handwritten digits: written once, whole, and split as the shipped file says."""

import json
import multiprocessing
import random

import numpy as np
import pytest
from dassl.utils import read_image
from PIL import Image

from datasets import digits
from datasets.digits import CLASSES, SPLIT, Digits, make_split, write_images
from vtclip.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_images(root / "digits" / "images")
    return root


@pytest.fixture(scope="module")
def scans():
    from sklearn.datasets import load_digits

    return load_digits()


def test_the_shipped_split_is_the_documented_one(scans):
    made = json.loads(json.dumps(make_split(scans.target.tolist())))
    assert json.loads(SPLIT.read_text()) == made
    paths = [path for part in made.values() for path, _, _ in part]
    assert len(paths) == len(set(paths)) == 1797


def test_pictures_are_the_scans(root, scans):
    for number in (0, 7, 1796):
        name = CLASSES[scans.target[number]]
        with Image.open(root / "digits" / "images" / name / f"{number:04d}.png") as image:
            assert (image.mode, image.size) == ("L", (8, 8))
            expected = np.round(scans.images[number] * 255 / 16)
            assert np.array_equal(np.asarray(image), expected)


def test_first_use_writes_and_reads(tmp_path, make_cfg):
    dataset = Digits(make_cfg(tmp_path / "new", 16))
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == (160, 40, 719)
    assert tuple(dataset.classnames) == CLASSES
    assert dataset.template == "a photo of the number {}."
    assert dataset.comparable
    assert read_image(dataset.test[0].impath).mode == "RGB"


def test_several_processes_may_start_together(tmp_path):
    folder = tmp_path / "digits" / "images"
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(write_images, [folder] * 4)
    assert len(list(folder.glob("*/*.png"))) == 1797
    assert sorted(path.name for path in folder.parent.iterdir()) == [".images.lock", "images"]


def test_an_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "digits" / "images"
    monkeypatch.setattr(digits, "CLASSES", CLASSES[:5])
    with pytest.raises(IndexError):
        write_images(folder)
    assert [path.name for path in folder.parent.iterdir()] == [".images.lock"]


def test_a_root_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="images: cannot be written"):
        write_images(tmp_path / "file" / "digits" / "images")


def test_a_picture_that_was_removed_is_named(tmp_path, make_cfg):
    cfg = make_cfg(tmp_path)
    path = Digits(cfg).test[0].impath
    (tmp_path / "digits" / path.split("digits/")[-1]).unlink()
    with pytest.raises(UserError, match=r"\.png: missing.*remove .*digits, it is written again"):
        Digits(cfg)


def test_the_first_run_has_the_lists_of_the_next(root, make_cfg, monkeypatch):
    cfg = make_cfg(root, 1)
    cfg.SEED = 1
    expected = [item.impath for item in Digits(cfg).train_x]
    # what is imported to write the images may draw on the global generator
    monkeypatch.setattr(digits, "write_images", lambda folder: random.getrandbits(24))
    assert [item.impath for item in Digits(cfg).train_x] == expected
    assert expected[0].endswith("digits/images/zero/0328.png")
