"""What every dataset does, on a copy of one: shots, classes, and every refusal."""

import json
import shutil

import fakes
import pytest

from datasets.base import ImageDataset
from datasets.split import Sizes
from vtclip.errors import UserError

KEY = "dtd"
IMAGES, SPLIT_FILE, _ = fakes.SPLITS[KEY]


@pytest.fixture
def root(tmp_path):
    """Data root with five classes: 6, 5, 4, 3, 2 training images, 5 of val, 2 of test each."""
    names = ["banded", "blotchy", "braided", "bubbly", "bumpy"]
    split = {"train": [], "val": [], "test": []}
    for label, name in enumerate(names):
        for part, count in (("train", 6 - label), ("val", 5), ("test", 2)):
            for number in range(count):
                path = f"{name}/{part}_{number}.jpg"
                split[part].append([path, label, name])
                (tmp_path / IMAGES / name).mkdir(parents=True, exist_ok=True)
                (tmp_path / IMAGES / path).touch()
    (tmp_path / SPLIT_FILE).write_text(json.dumps(split))
    return tmp_path


@pytest.fixture
def build(root, make_cfg, monkeypatch):
    cls = ImageDataset.known[KEY]
    monkeypatch.setattr(cls, "sizes", Sizes(20, 25, 10, 5))
    return lambda shots=-1, **options: cls(make_cfg(root, shots, **options))


def edit(root, change):
    split = json.loads((root / SPLIT_FILE).read_text())
    change(split)
    (root / SPLIT_FILE).write_text(json.dumps(split))


def test_all_images_below_one_shot(build):
    dataset = build()
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == (20, 25, 10)


def test_a_class_with_fewer_images_gives_all_of_them_and_one_line(build, capsys):
    dataset = build(5)
    counts = [sum(item.label == label for item in dataset.train_x) for label in range(5)]
    assert counts == [5, 5, 4, 3, 2]
    assert len(dataset.val) == 5 * 4
    lines = [line for line in capsys.readouterr().out.splitlines() if "fewer" in line]
    assert len(lines) == 1
    assert "3 classes have fewer than 5 training images" in lines[0]
    assert "bumpy, 2" in lines[0]


def test_base_and_new_classes(build):
    base, new = (build(2, SUBSAMPLE_CLASSES=which) for which in ("base", "new"))
    assert base.classnames == ["banded", "blotchy", "braided"]
    assert new.classnames == ["bubbly", "bumpy"]
    assert {item.label for item in new.test} == {0, 1}
    assert new.original_labels == [3, 4]
    assert len(new.few_shot_lists["train"]) == len(new.train_x) == 4
    assert [item.label for item in new.few_shot_lists["val"]] == [i.label for i in new.val]


@pytest.mark.parametrize("shots", [-2, -100])
def test_numbers_of_shots_below_minus_one_are_refused(shots, build):
    with pytest.raises(UserError, match=f"DATASET.NUM_SHOTS: {shots}; give a number of images"):
        build(shots)


def keep_labels(*kept):
    def change(split):
        for part in split.values():
            part[:] = [entry for entry in part if entry[1] in kept]

    return change


def test_a_dataset_of_one_class_is_refused(build, root, monkeypatch):
    edit(root, keep_labels(0))
    monkeypatch.setattr(ImageDataset.known[KEY], "sizes", None)
    with pytest.raises(UserError, match=r"dtd: holds a single class \(banded\)"):
        build()


@pytest.mark.parametrize(("which", "kept"), [("base", 1), ("new", 1)])
def test_half_of_two_classes_is_refused(which, kept, build, root, monkeypatch):
    edit(root, keep_labels(0, 1))
    monkeypatch.setattr(ImageDataset.known[KEY], "sizes", None)
    assert build().num_classes == 2
    with pytest.raises(UserError, match=f"SUBSAMPLE_CLASSES: {which} leaves {kept} of the classes"):
        build(SUBSAMPLE_CLASSES=which)


def test_classes_without_test_images_are_refused(build, root, monkeypatch):
    edit(root, lambda split: split.update(test=[e for e in split["test"] if e[1] < 3]))
    monkeypatch.setattr(ImageDataset.known[KEY], "sizes", None)
    assert build().num_classes == 5
    with pytest.raises(UserError, match="SUBSAMPLE_CLASSES: new leaves no test images"):
        build(SUBSAMPLE_CLASSES="new")


def test_the_configured_template_wins_and_is_checked(build):
    assert build(TEMPLATE="a {} pattern.").template == "a {} pattern."
    with pytest.raises(UserError, match=r"DATASET\.TEMPLATE"):
        build(TEMPLATE="a pattern.")


def test_missing_data_root(make_cfg, tmp_path):
    with pytest.raises(UserError, match="nowhere: no such data root; give --root"):
        ImageDataset.known[KEY](make_cfg(tmp_path / "nowhere"))


def test_missing_dataset_folder(build, root):
    shutil.rmtree(root / "dtd")
    with pytest.raises(UserError, match=r"dtd: missing, .*python -m datasets prepare dtd --root"):
        build()


@pytest.mark.parametrize("below", [True, False])
def test_a_root_one_level_off_is_recognised(below, root, make_cfg, tmp_path_factory):
    wrong = root / "dtd"
    if not below:
        wrong = tmp_path_factory.mktemp("outer")
        root.rename(wrong / "data")
        root = wrong / "data"
    with pytest.raises(UserError, match=f"dtd: missing, the folder of dtd; give --root {root}, or"):
        ImageDataset.known[KEY](make_cfg(wrong))


def test_missing_image_folder(build, root):
    shutil.rmtree(root / IMAGES)
    with pytest.raises(UserError, match="dtd/images: missing, the images of dtd"):
        build()


def test_missing_split_file_is_refused_by_name(build, root):
    (root / SPLIT_FILE).unlink()
    with pytest.raises(UserError) as caught:
        build()
    message = str(caught.value)
    assert "split_zhou_DescribableTextures.json: missing" in message
    assert "python -m datasets prepare dtd" in message
    assert "DATASET.ALLOW_RANDOM_SPLIT True" in message
    assert "\n" not in message


def test_a_random_split_is_made_when_allowed_and_marked(build, root, capsys):
    (root / SPLIT_FILE).unlink()
    dataset = build(2, ALLOW_RANDOM_SPLIT=True)
    assert not dataset.comparable
    assert dataset.classnames == ["banded", "blotchy", "braided", "bubbly", "bumpy"]
    assert "not comparable with published results" in capsys.readouterr().out
    assert not (root / SPLIT_FILE).exists()


def test_the_official_split_stays_comparable_when_random_ones_are_allowed(build):
    assert build(2, ALLOW_RANDOM_SPLIT=True).comparable


def test_a_split_of_another_size_names_both_counts(build, root):
    edit(root, lambda split: split["test"].pop())
    with pytest.raises(UserError, match=r"9 test \(known: 10\)"):
        build()
    assert not build(ALLOW_RANDOM_SPLIT=True).comparable


def test_missing_images_are_counted_and_the_first_is_named(build, root):
    for name in ("train_4.jpg", "train_5.jpg"):
        (root / IMAGES / "banded" / name).unlink()
    with pytest.raises(UserError, match=r"banded/train_4\.jpg: missing, as are 1 more images"):
        build(1)


def test_an_entry_outside_the_image_folder(build, root):
    (root / "secret.jpg").touch()
    edit(root, lambda split: split["test"][0].__setitem__(0, "../../secret.jpg"))
    with pytest.raises(UserError, match=r"'\.\./\.\./secret\.jpg', which lies outside"):
        build()


def test_labels_with_holes(build, root):
    def change(split):
        for part in split.values():
            part[:] = [entry for entry in part if entry[1] != 2]

    edit(root, change)
    with pytest.raises(UserError, match="no image has label 2"):
        build()


def test_an_empty_class_name(build, root):
    def change(split):
        for part in split.values():
            for entry in part:
                entry[2] = entry[2] if entry[1] else ""

    edit(root, change)
    with pytest.raises(UserError, match="class name of label 0 is empty"):
        build()


@pytest.mark.parametrize(
    ("key", "files", "names"),
    [
        ("oxford_pets", ["Egyptian_Mau_1.jpg", "Abyssinian_1.jpg"], ["abyssinian", "egyptian_mau"]),
        ("caltech101", ["Faces/1.jpg", "Faces_easy/1.jpg", "ant/1.jpg"], ["ant", "face"]),
        (
            "sun397",
            ["a/abbey/1.jpg", "a/apartment_building/outdoor/1.jpg"],
            ["abbey", "outdoor apartment_building"],
        ),
        ("eurosat", ["Forest/1.jpg", "SeaLake/1.jpg"], ["Forest", "Sea or Lake"]),
    ],
)
def test_random_splits_name_classes_as_coop_does(key, files, names, tmp_path, make_cfg):
    images = tmp_path / fakes.SPLITS[key][0]
    for file in files:
        for number in "123":
            path = images / file.replace("1.jpg", f"{number}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    dataset = ImageDataset.known[key](make_cfg(tmp_path, ALLOW_RANDOM_SPLIT=True))
    assert dataset.classnames == names
    assert not dataset.comparable


def test_random_split_of_flowers_needs_its_labels(tmp_path, make_cfg):
    from scipy.io import savemat

    folder = tmp_path / "oxford_flowers"
    (folder / "jpg").mkdir(parents=True)
    for number in range(1, 7):
        (folder / "jpg" / f"image_{number:05d}.jpg").touch()
    cfg = make_cfg(tmp_path, ALLOW_RANDOM_SPLIT=True)
    with pytest.raises(UserError, match=r"imagelabels\.mat: needed for a random split"):
        ImageDataset.known["oxford_flowers"](cfg)
    savemat(folder / "imagelabels.mat", {"labels": [[1, 1, 1, 2, 2, 2]]})
    (folder / "cat_to_name.json").write_text('{"1": "pink primrose", "2": "globe-flower"}')
    dataset = ImageDataset.known["oxford_flowers"](cfg)
    assert dataset.classnames == ["globe-flower", "pink primrose"]
    (folder / "cat_to_name.json").write_text('{"1": "pink primrose"}')
    with pytest.raises(UserError, match="do not fit the images in jpg"):
        ImageDataset.known["oxford_flowers"](cfg)
    savemat(folder / "imagelabels.mat", {"other": [[1]]})
    with pytest.raises(UserError, match="lacks the variable 'labels'"):
        ImageDataset.known["oxford_flowers"](cfg)


def test_random_split_of_cars_reads_the_devkit(tmp_path, make_cfg):
    import numpy as np
    from scipy.io import savemat

    folder = tmp_path / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    cars = np.array([["Audi TTS Coupe 2012", "AM General Hummer SUV 2000"]], dtype=object)
    savemat(folder / "devkit/cars_meta.mat", {"class_names": cars})
    for part, file in (
        ("cars_train", "devkit/cars_train_annos.mat"),
        ("cars_test", "cars_test_annos_withlabels.mat"),
    ):
        rows = np.zeros((1, 4), dtype=[("fname", object), ("class", object)])
        (folder / part).mkdir()
        for number in range(4):
            rows[0, number] = (f"{number:05d}.jpg", 1 + number % 2)
            (folder / part / f"{number:05d}.jpg").touch()
        savemat(folder / file, {"annotations": rows})
    cfg = make_cfg(tmp_path, ALLOW_RANDOM_SPLIT=True)
    dataset = ImageDataset.known["stanford_cars"](cfg)
    assert dataset.classnames == ["2000 AM General Hummer SUV", "2012 Audi TTS Coupe"]
    savemat(folder / "devkit/cars_meta.mat", {"class_names": cars[:, :1]})
    with pytest.raises(UserError, match=r"cars_train_annos\.mat: not the annotations"):
        ImageDataset.known["stanford_cars"](cfg)
    (folder / "devkit/cars_meta.mat").write_bytes(b"no such file")
    with pytest.raises(UserError, match=r"cars_meta\.mat: not a MATLAB file"):
        ImageDataset.known["stanford_cars"](cfg)
