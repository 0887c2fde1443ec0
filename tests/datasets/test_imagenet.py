"""ImageNet and its variants on copies with all their classes."""

import random

import fakes
import pytest

from datasets import imagenet
from datasets.base import ImageDataset
from datasets.split import Sizes
from vtclip.errors import UserError

WNIDS = [fakes.wnid(number) for number in range(1000)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """ImageNet with two training images and one validation image a class."""
    root = tmp_path_factory.mktemp("data")
    fakes.write_classnames(root / "imagenet")
    for part, images in (("train", 2), ("val", 1)):
        fakes.write_class_folders(root / "imagenet" / "images" / part, WNIDS, images)
    return root


@pytest.fixture
def build(make_cfg, monkeypatch):
    def make(root, key, sizes, shots=-1, **options):
        cls = ImageDataset.known[key]
        monkeypatch.setattr(cls, "sizes", sizes)
        return cls(make_cfg(root, shots, **options))

    return make


def test_imagenet_keeps_a_thousand_classes_and_sorted_folders(root, build):
    dataset = build(root, "imagenet", Sizes(2000, 0, 1000, 1000))
    assert dataset.num_classes == 1000
    assert dataset.classnames == fakes.imagenet_names()
    assert [item.label for item in dataset.test] == list(range(1000))
    first = f"imagenet/images/train/{WNIDS[0]}/{WNIDS[0]}_0.JPEG"
    assert dataset.few_shot_lists["train"][0].path == first
    # no images of its own to select on, and never those of the test
    assert not dataset.val


def test_imagenet_selects_on_training_images_that_it_does_not_train_on(root, build):
    random.seed(1)
    dataset = build(root, "imagenet", Sizes(2000, 0, 1000, 1000), shots=1)
    lists = {part: [i.path for i in items] for part, items in dataset.few_shot_lists.items()}
    assert len(lists["train"]) == len(lists["val"]) == 1000
    assert not set(lists["train"]) & set(lists["val"])
    assert all(path.startswith("imagenet/images/train/") for path in lists["val"])
    # drawn first and with nothing before, so that the training list is CoOp's
    random.seed(1)
    expected = [
        f"imagenet/images/train/{wnid}/{random.sample([f'{wnid}_0', f'{wnid}_1'], 1)[0]}.JPEG"
        for wnid in WNIDS
    ]
    assert lists["train"] == expected


def test_imagenet_of_another_size_is_refused_unless_allowed(root, build):
    sizes = Sizes(1281167, 0, 50000, 1000)
    with pytest.raises(UserError, match=r"2,000 train \(known: 1,281,167\), 1,000 test"):
        build(root, "imagenet", sizes)
    assert not build(root, "imagenet", sizes, 1, ALLOW_RANDOM_SPLIT=True).comparable


def test_imagenet_base_and_new(root, build):
    sizes = Sizes(2000, 0, 1000, 1000)
    new = build(root, "imagenet", sizes, 1, SUBSAMPLE_CLASSES="new")
    assert new.num_classes == 500
    assert new.classnames == fakes.imagenet_names()[500:]


@pytest.mark.parametrize(
    ("key", "folder", "classes"),
    [
        ("imagenet_sketch", "imagenet-sketch/images", WNIDS),
        ("imagenet_a", "imagenet-adversarial/imagenet-a", WNIDS[5::5]),
        ("imagenet_r", "imagenet-rendition/imagenet-r", WNIDS[1::5]),
    ],
)
def test_variants_label_by_the_rank_of_their_folders(key, folder, classes, build, tmp_path):
    fakes.write_class_folders(tmp_path / folder, classes, 1)
    (tmp_path / folder / "README.txt").touch()
    fakes.write_classnames(tmp_path / folder.split("/")[0])
    dataset = build(tmp_path, key, Sizes(0, 0, len(classes), len(classes)))
    names = dict(zip(WNIDS, fakes.imagenet_names(), strict=True))
    assert dataset.classnames == [names[wnid] for wnid in classes]
    assert [item.label for item in dataset.test] == list(range(len(classes)))
    assert dataset.test_only
    assert dataset.few_shot_lists == {"train": [], "val": []}


def test_v2_labels_are_the_folders_numbers(build, tmp_path):
    folder = tmp_path / "imagenetv2" / "imagenetv2-matched-frequency-format-val"
    fakes.write_class_folders(folder, [str(number) for number in range(1000)], 1)
    # its own classnames.txt is missing: ImageNet's serves
    fakes.write_classnames(tmp_path / "imagenet")
    dataset = build(tmp_path, "imagenetv2", Sizes(0, 0, 1000, 1000))
    assert dataset.classnames == fakes.imagenet_names()
    assert dataset.test[10].label == 10
    assert dataset.test[10].impath.endswith("format-val/10/10_0.JPEG")
    assert dataset.template == "a photo of a {}."


def test_a_class_folder_without_a_name_is_refused(build, tmp_path):
    fakes.write_class_folders(tmp_path / "imagenet-adversarial/imagenet-a", ["n99999999"], 1)
    fakes.write_classnames(tmp_path / "imagenet-adversarial")
    with pytest.raises(UserError, match=r"n99999999: a class folder that classnames\.txt"):
        build(tmp_path, "imagenet_a", Sizes(0, 0, 1, 1))


def test_missing_parts_are_named(build, tmp_path):
    (tmp_path / "imagenet").mkdir()
    with pytest.raises(UserError, match=r"classnames\.txt: missing; see .*prepare imagenet"):
        build(tmp_path, "imagenet", None)
    fakes.write_classnames(tmp_path / "imagenet")
    with pytest.raises(UserError, match="images/train: missing, images of imagenet"):
        build(tmp_path, "imagenet", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n01 tench\nn02\n", r"line 2 \('n02'\) has no class name"),
        ("n01 tench\nn01 shark\n", "line 2 repeats folder n01"),
        ("n02 tench\nn01 shark\n", "not in sorted order"),
        ("\n", "is empty"),
    ],
)
def test_class_names_that_cannot_be_right(text, message, tmp_path):
    path = tmp_path / "classnames.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        imagenet.read_classnames(path, "fetch it")


def test_names_other_than_clips_are_said(tmp_path, capsys, real_data):
    fakes.write_classnames(tmp_path)
    imagenet.read_classnames(tmp_path / "classnames.txt", "fetch it")
    assert "not CLIP's own list" in capsys.readouterr().out
    names = imagenet.read_classnames(real_data / "splits/imagenet_classnames.txt", "fetch it")
    assert capsys.readouterr().out == ""
    assert len(names) == 1000
    assert len(set(names.values())) == 998
