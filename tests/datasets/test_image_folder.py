"""Folders of one's own images."""

import pytest

from datasets.image_folder import ImageFolder
from vtclip.errors import UserError


def write(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def photos(*folders, count=10):
    return [f"{folder}/{number}.JPG" for folder in folders for number in range(count)]


def test_class_folders_are_split_the_same_way_every_time(tmp_path, make_cfg):
    write(tmp_path, *photos("red car", "tabby_cat"), "tabby_cat/notes.txt", "tabby_cat/in/1.png")
    one, two = (ImageFolder(make_cfg(tmp_path, 2)) for _ in range(2))
    assert one.classnames == ["red car", "tabby_cat"]
    assert (len(one.train_x), len(one.val)) == (4, 4)
    assert [item.impath for item in one.test] == [item.impath for item in two.test]
    assert not one.comparable
    assert one.template == "a photo of a {}."


def test_train_and_test_folders_are_taken_as_they_are(tmp_path, make_cfg):
    write(tmp_path, *photos("train/b", "train/a", count=3), *photos("test/a", "val/b", count=2))
    dataset = ImageFolder(make_cfg(tmp_path, TEMPLATE="a sketch of {}."))
    assert dataset.classnames == ["a", "b"]
    assert [item.label for item in dataset.val] == [1, 1]
    assert [item.label for item in dataset.test] == [0, 0]
    assert dataset.comparable
    assert dataset.template == "a sketch of {}."


def test_without_val_it_is_drawn_from_training_images_that_are_left(tmp_path, make_cfg):
    write(tmp_path, *photos("train/a", "train/b"), *photos("test/a", "test/b", count=1))
    dataset = ImageFolder(make_cfg(tmp_path, 8))
    train, val = ({i.path for i in items} for items in dataset.few_shot_lists.values())
    assert (len(train), len(val)) == (16, 4)
    assert not train & val
    assert all(path.startswith("train/") for path in val)
    assert not ImageFolder(make_cfg(tmp_path)).val


def test_names_from_a_file(tmp_path, make_cfg):
    write(tmp_path, *photos("n01", "n02"))
    (tmp_path / "classnames.txt").write_text("n02\tgreat white shark\n\n")
    assert ImageFolder(make_cfg(tmp_path)).classnames == ["great white shark", "n01"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n01 tench\n", "line 1 is not folder, tab, class name"),
        ("n01\t \n", "line 1 is not folder, tab, class name"),
        ("n01\tx\nn03\ttench\n", r"line 2: unknown name 'n03'; did you mean"),
        ("n01\tn02\n", "two folders the same class name"),
    ],
)
def test_names_that_cannot_be_right(text, message, tmp_path, make_cfg):
    write(tmp_path, *photos("n01", "n02"))
    (tmp_path / "classnames.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        ImageFolder(make_cfg(tmp_path))


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "has no class folders"),
        (["a/notes.txt"], "a: has no images"),
        (["train/a/1.jpg"], "test: missing beside train"),
        (["test/a/1.jpg"], "train: missing beside test"),
        (["train/a/1.jpg", "test/b/1.jpg"], "test/b: a class that train lacks"),
        (["train/a/1.jpg", "test/x.jpg"], "has no test images"),
    ],
)
def test_folders_that_cannot_be_right(paths, message, tmp_path, make_cfg):
    write(tmp_path, *paths)
    with pytest.raises(UserError, match=message):
        ImageFolder(make_cfg(tmp_path))
