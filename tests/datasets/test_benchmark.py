"""Each dataset on a small copy of its real layout, and on the real split files."""

import json
import os
import shutil
from pathlib import Path

import fakes
import pytest
from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import read_image

import datasets
from datasets.base import ImageDataset
from datasets.split import Sizes
from vtclip.errors import UserError
from vtclip.prompts import TEMPLATES

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "datasets"


@pytest.fixture
def build(tmp_path, make_cfg, monkeypatch):
    """Build a dataset in tmp_path whose known sizes are those given."""

    def make(key, sizes=None, shots=-1, **options):
        cls = ImageDataset.known[key]
        monkeypatch.setattr(cls, "sizes", sizes)
        return cls(make_cfg(tmp_path, shots, **options))

    return make


def sizes_of(split):
    labels = {label for _, label, _ in split["train"]}
    return Sizes(*(len(split[part]) for part in ("train", "val", "test")), len(labels))


def test_every_dataset_is_registered_and_has_a_config():
    assert sorted(path.stem for path in CONFIGS.glob("*.yaml")) == sorted(ImageDataset.known)
    for key in (*datasets.BENCHMARK, *datasets.OWN):
        name = ImageDataset.known[key].__name__
        assert DATASET_REGISTRY.get(name) is ImageDataset.known[key]
        assert f'NAME: "{name}"' in (CONFIGS / f"{key}.yaml").read_text()
        assert name in TEMPLATES or key in datasets.OWN


@pytest.mark.parametrize("key", sorted(fakes.SPLITS))
def test_a_copy_with_a_split_file_reads_as_coop_reads_it(key, build, tmp_path):
    split = fakes.write_split_copy(key, tmp_path)
    dataset = build(key, sizes_of(split))
    images = tmp_path / fakes.SPLITS[key][0]
    for part, items in (("train", dataset.train_x), ("val", dataset.val), ("test", dataset.test)):
        read = [(os.path.relpath(i.impath, images), i.label, i.classname) for i in items]
        assert read == [tuple(entry) for entry in split[part]]
        for item in items:
            picture = read_image(item.impath)
            # a tag that says to turn the picture is ignored, as in CoOp
            assert (picture.mode, picture.size) == ("RGB", fakes.WIDE)
    names = {label: name for _, label, name in split["train"]}
    assert dataset.classnames == [names[label] for label in range(len(names))]
    assert dataset.comparable
    assert not dataset.test_only
    assert dataset.template == TEMPLATES[type(dataset).__name__]
    assert [tuple(i) for i in dataset.few_shot_lists["train"]] == [
        (f"{fakes.SPLITS[key][0]}/{path}", label, name) for path, label, name in split["train"]
    ]


@pytest.mark.parametrize("header", [False, True])
def test_aircraft_reads_names_with_spaces_and_a_stray_header(header, build, tmp_path):
    fakes.write_aircraft(tmp_path, header)
    dataset = build("fgvc_aircraft", Sizes(3, 1, 2, 3))
    assert dataset.classnames == ["707-320", "Boeing 717", "F/A-18"]
    assert [item.label for item in dataset.test] == [1, 1]
    assert dataset.train_x[2].impath.endswith("fgvc_aircraft/images/0000003.jpg")
    assert all(read_image(item.impath).mode == "RGB" for item in dataset.train_x)


@pytest.mark.parametrize("name", ["variants.txt", "images_variant_val.txt"])
def test_aircraft_names_the_list_that_is_missing(name, build, tmp_path):
    fakes.write_aircraft(tmp_path)
    (tmp_path / "fgvc_aircraft" / name).unlink()
    with pytest.raises(UserError, match=f"{name}: missing; see .*prepare fgvc_aircraft"):
        build("fgvc_aircraft")


def test_aircraft_refuses_lists_that_do_not_agree(build, tmp_path):
    fakes.write_aircraft(tmp_path)
    path = tmp_path / "fgvc_aircraft" / "images_variant_test.txt"
    path.write_text("0000001 Spitfire\n")
    with pytest.raises(UserError, match=r"'Spitfire' is not in variants\.txt"):
        build("fgvc_aircraft")
    path.write_text("../0000001 707-320\n")
    with pytest.raises(UserError, match="outside the image folder"):
        build("fgvc_aircraft")
    path.write_text("0000009 707-320\n")
    with pytest.raises(UserError, match=r"0000009\.jpg: missing"):
        build("fgvc_aircraft")


def test_coops_own_pickles_are_left_alone(build, tmp_path):
    split = fakes.write_split_copy("dtd", tmp_path)
    pickles = tmp_path / "dtd" / "split_fewshot"
    pickles.mkdir()
    (pickles / "shot_1-seed_1.pkl").write_bytes(b"not a pickle")
    before = sorted(tmp_path.rglob("*"))
    build("dtd", sizes_of(split), shots=1)
    assert sorted(tmp_path.rglob("*")) == before
    assert (pickles / "shot_1-seed_1.pkl").read_bytes() == b"not a pickle"


REAL_SPLITS = {
    key: Path(fakes.SPLITS[key][1])
    for key in ("oxford_pets", "stanford_cars", "oxford_flowers", "dtd", "eurosat", "ucf101")
}


@pytest.mark.parametrize("key", sorted(REAL_SPLITS))
def test_official_splits_have_the_known_counts(key, real_data, tmp_path, make_cfg):
    path = REAL_SPLITS[key]
    (tmp_path / path).parent.mkdir(parents=True)
    shutil.copyfile(real_data / "splits" / path.name, tmp_path / path)
    touch_images(tmp_path / fakes.SPLITS[key][0], json.loads((tmp_path / path).read_text()))
    dataset = ImageDataset.known[key](make_cfg(tmp_path, 16))
    known = dataset.sizes
    assert len(dataset.test) == known.test
    assert dataset.num_classes == known.classes
    assert dataset.comparable


def test_official_aircraft_lists_have_the_known_counts(real_data, tmp_path, make_cfg):
    folder = tmp_path / "fgvc_aircraft"
    shutil.copytree(real_data / "splits" / "fgvc_aircraft", folder)
    folder.chmod(0o755)
    (folder / "images").mkdir()
    for path in folder.glob("images_variant_*.txt"):
        for line in path.read_text().splitlines():
            (folder / "images" / f"{line[:7]}.jpg").touch()
    dataset = ImageDataset.known["fgvc_aircraft"](make_cfg(tmp_path, 16))
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == (1600, 400, 3333)
    assert dataset.classnames[0] == "707-320"
    assert {"Boeing 717", "F-16A/B"} <= set(dataset.classnames)


def test_the_whole_of_caltech101(real_data, make_cfg):
    dataset = ImageDataset.known["caltech101"](make_cfg(real_data))
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == (4128, 1649, 2465)
    assert dataset.classnames[:3] == ["face", "leopard", "motorbike"]
    assert dataset.num_classes == 100


def touch_images(folder, split):
    paths = [folder / path for part in split.values() for path, _, _ in part]
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.touch()
