"""Folders of one's own images."""

import os
import subprocess

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
        (["train/a/1.jpg", "test/x.jpg"], "test: holds images and no class folders, but .*train"),
        (["train/a/1.jpg", "test/a/notes.txt"], "has no test images"),
        (["train/a/1.jpg", "train/b/x.txt", "test/a/1.jpg"], r"train/b: has no images.*b/x\.txt"),
        (["Train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg"], "Train and train are both taken as"),
        (["train/a/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"], "val and valid are both taken as val"),
        (["apple/1.jpg", "train/a/1.jpg"], "test: missing beside train; a class named train must"),
        (["1.jpg", "2.jpg"], "has no class folders; it holds images, so perhaps --root .* is"),
    ],
)
def test_folders_that_cannot_be_right(paths, message, tmp_path, make_cfg):
    write(tmp_path, *paths)
    with pytest.raises(UserError, match=message):
        ImageFolder(make_cfg(tmp_path))


def parts_of(dataset):
    """Return the folder of the images of each part."""
    parts = (dataset.few_shot_lists["train"], dataset.few_shot_lists["val"], dataset.test_list)
    return [{item.path.split("/")[0] for item in items} for items in parts]


@pytest.mark.parametrize(
    "names",
    [
        ("train", "valid", "test"),
        ("Train", "Validation", "Test"),
        ("TRAINING", "VAL", "testing"),
    ],
)
def test_parts_by_other_names(names, tmp_path, make_cfg):
    for part, count in zip(names, (6, 2, 4), strict=True):
        write(tmp_path, *photos(f"{part}/apple", f"{part}/leaf", count=count))
    dataset = ImageFolder(make_cfg(tmp_path))
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == (12, 4, 8)
    assert parts_of(dataset) == [{name} for name in names]
    assert dataset.classnames == ["apple", "leaf"]
    assert dataset.comparable


def test_a_class_may_be_called_train(tmp_path, make_cfg):
    write(tmp_path, *photos("apple", "leaf", "sea", "train"))
    dataset = ImageFolder(make_cfg(tmp_path))
    assert dataset.classnames == ["apple", "leaf", "sea", "train"]
    assert len(dataset.train_x) == 20


def test_classes_may_be_called_like_all_the_parts(tmp_path, make_cfg):
    write(tmp_path, *photos("Test", "train", "valid"))
    assert ImageFolder(make_cfg(tmp_path)).classnames == ["Test", "train", "valid"]


@pytest.mark.parametrize(
    ("paths", "place"),
    [
        (["inner/train/apple/1.jpg", "inner/test/apple/1.jpg", "inner/train/sea/1.jpg"], "inner"),
        (["a/b/Training/x/1.jpg", "a/b/testing/x/1.jpg"], "a/b"),
        (["inner/apple/1.jpg", "inner/sea/1.jpg"], "inner"),
        (["one/train/x/1.jpg", "one/test/x/1.jpg", "two/y.jpg"], "one"),
    ],
)
def test_a_folder_one_level_too_high(paths, place, tmp_path, make_cfg):
    write(tmp_path, *paths)
    with pytest.raises(UserError) as caught:
        ImageFolder(make_cfg(tmp_path))
    assert str(caught.value).endswith(f"give --root {tmp_path / place}.")


def test_nested_folders_belong_to_their_class(tmp_path, make_cfg):
    write(tmp_path, *photos("apple/red", "apple/green", "sea/deep", count=4))
    dataset = ImageFolder(make_cfg(tmp_path))
    assert (len(dataset.train_x), dataset.classnames) == (6, ["apple", "sea"])


def test_a_single_class_is_refused(tmp_path, make_cfg):
    write(tmp_path, *photos("apple"))
    with pytest.raises(UserError, match=r"holds a single class \(apple\)"):
        ImageFolder(make_cfg(tmp_path))


def test_what_is_left_out_is_one_line(tmp_path, make_cfg, capsys):
    write(tmp_path, *photos("apple", "sea", count=4))
    write(tmp_path, *(f"sea/{n}.svg" for n in range(1200)), "sea/.DS_Store", "stray.jpg")
    write(tmp_path, "__MACOSX/sea/._1.jpg")
    ImageFolder(make_cfg(tmp_path))
    lines = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert len(lines) == 1
    assert "1,200 of another suffix than bmp, gif, jfif, jpe, jpeg, jpg, png" in lines[0]
    assert "(sea/0.svg, sea/1.svg, ...)" in lines[0]
    assert "1 hidden (sea/.DS_Store)" in lines[0]
    assert "1 outside the class folders (stray.jpg)" in lines[0]


def test_folders_beside_the_parts_are_named(tmp_path, make_cfg, capsys):
    write(tmp_path, *photos("train/a", "train/b", "test/a", "extra/c"), "train/stray.png")
    ImageFolder(make_cfg(tmp_path))
    out = capsys.readouterr().out
    assert "1 beside the parts (extra); 1 outside the class folders (train/stray.png)" in out


def test_nothing_left_out_is_no_line(tmp_path, make_cfg, capsys):
    write(tmp_path, *photos("apple", "sea"))
    ImageFolder(make_cfg(tmp_path))
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JFIF", "webp", "tif"])
def test_all_suffixes_of_the_formats_are_taken(suffix, tmp_path, make_cfg):
    write(tmp_path, *(f"{c}/{n}.{suffix}" for c in ("apple", "sea") for n in range(10)))
    assert len(ImageFolder(make_cfg(tmp_path)).train_x) == 10


def test_names_that_are_not_utf8_are_refused_in_one_line(tmp_path, make_cfg):
    write(tmp_path, *photos("apple", "sea"))
    (tmp_path / "sea").rename(tmp_path / os.fsdecode(b"oc\xe9an"))
    with pytest.raises(UserError, match=r"holds oc\\xe9an, a name that is not UTF-8") as caught:
        ImageFolder(make_cfg(tmp_path))
    assert str(caught.value).isascii()


def test_an_image_whose_name_is_not_utf8(tmp_path, make_cfg):
    write(tmp_path, *photos("apple", "sea"))
    (tmp_path / "sea/1.JPG").rename(tmp_path / "sea" / os.fsdecode(b"\xff.jpg"))
    with pytest.raises(UserError, match=r"sea: holds \\xff\.jpg, a name that is not UTF-8"):
        ImageFolder(make_cfg(tmp_path))


def test_a_root_whose_name_is_not_utf8(tmp_path, make_cfg):
    write(tmp_path, *photos("in/apple", "in/sea"))
    root = tmp_path / os.fsdecode(b"oc\xe9an")
    (tmp_path / "in").rename(root)
    with pytest.raises(UserError, match=r"DATASET\.ROOT: .*oc\\xe9an: not UTF-8"):
        ImageFolder(make_cfg(root))


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "../apple"])
def test_a_link_to_a_folder_that_is_visited_anyway_is_named(target, tmp_path, make_cfg):
    write(tmp_path, *photos("apple", "sea"))
    (tmp_path / "sea/more").symlink_to(target, target_is_directory=True)
    with pytest.raises(UserError, match=r"sea/more: a link .*; remove the link"):
        ImageFolder(make_cfg(tmp_path))


def test_links_that_lead_to_each_other_and_to_themselves_are_named(tmp_path, make_cfg):
    write(tmp_path, *photos("apple", "sea"), "one/x/1.jpg", "two/y/1.jpg")
    (tmp_path / "one/x/to").symlink_to(tmp_path / "two/y")
    (tmp_path / "two/y/to").symlink_to(tmp_path / "one/x")
    with pytest.raises(UserError, match="a link makes it the same folder as"):
        ImageFolder(make_cfg(tmp_path))
    (tmp_path / "apple/self").symlink_to("self")
    with pytest.raises(UserError, match="apple/self: cannot be read"):
        ImageFolder(make_cfg(tmp_path))


def test_links_to_class_folders_elsewhere_are_followed(tmp_path, make_cfg):
    write(tmp_path, *photos("store/red", "photos/sea"))
    (tmp_path / "photos/apple").symlink_to(tmp_path / "store/red")
    dataset = ImageFolder(make_cfg(tmp_path / "photos"))
    assert dataset.classnames == ["apple", "sea"]
    assert len(dataset.train_x) == 10


def test_folders_nested_deeper_than_the_stack(tmp_path, make_cfg):
    write(tmp_path, *photos("apple", "sea"))
    place = os.open(tmp_path / "sea", os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    assert len(ImageFolder(make_cfg(tmp_path)).train_x) == 10
    # too deep for pytest to remove
    subprocess.run(["rm", "-r", tmp_path / "sea"], check=True)
