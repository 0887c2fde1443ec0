"""The doctor: what is there, what is missing, what is broken."""

import shutil

import fakes
import pytest

from datasets.base import ImageDataset
from datasets.check import ABSENT, OK, WRONG, broken_images, inspect
from datasets.split import Sizes


@pytest.fixture
def pets(tmp_path, monkeypatch):
    fakes.write_split_copy("oxford_pets", tmp_path)
    monkeypatch.setattr(ImageDataset.known["oxford_pets"], "sizes", Sizes(2, 1, 1, 2))
    return ImageDataset.known["oxford_pets"].at(tmp_path)


def test_a_whole_dataset(pets):
    finding = inspect(pets)
    assert finding.row == ["oxford_pets", OK, "2", "1", "1", "2", ""]


def test_an_absent_one_is_not_made(tmp_path):
    finding = inspect(ImageDataset.known["digits"].at(tmp_path))
    assert finding.row == ["digits", ABSENT, "719", "359", "719", "10", "digits/"]
    assert not list(tmp_path.iterdir())


def test_counts_that_differ_are_given_beside_the_known(pets, monkeypatch):
    monkeypatch.setattr(ImageDataset.known["oxford_pets"], "sizes", Sizes(2944, 1, 1, 37))
    finding = inspect(pets)
    assert finding.state == WRONG
    assert finding.row[2:6] == ["2 / 2,944", "1", "1", "2 / 37"]


def test_missing_files_are_named_relative_to_the_root(pets, tmp_path):
    (tmp_path / "oxford_pets/images/Abyssinian_34.jpg").unlink()
    assert inspect(pets).problem.startswith("oxford_pets/images/Abyssinian_34.jpg: missing")
    (tmp_path / "oxford_pets/split_zhou_OxfordPets.json").unlink()
    assert "split_zhou_OxfordPets.json: missing" in inspect(pets).problem
    shutil.rmtree(tmp_path / "oxford_pets/images")
    assert inspect(pets).problem.startswith("oxford_pets/images: missing")


def test_deep_opens_every_image_and_lists_the_broken(tmp_path):
    for kind in fakes.KINDS:
        fakes.save(tmp_path / f"{kind}.jpg", kind)
    whole = (tmp_path / "CMYK.jpg").read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    (tmp_path / "page.jpg").write_text("<html>quota exceeded</html>")
    (tmp_path / "empty.jpg").touch()
    paths = [path.name for path in tmp_path.iterdir()]
    broken = broken_images(tmp_path, [*paths, "absent.jpg"])
    assert sorted(broken) == ["absent.jpg", "empty.jpg", "page.jpg", "truncated.jpg"]
    assert all(broken.values())
