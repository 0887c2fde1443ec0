"""Banks of features: the rows follow the lists, and bad files are refused."""

import hashlib
import json
import random

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

from datasets.feature_bank import FeatureBank
from vtclip.errors import UserError


def arrays(classes=4, width=3, spatial=False):
    """Features whose first value tells the row and whose second tells the label."""
    found = {"text": np.eye(classes, width, dtype=np.float16)}
    for part, images in (("train", 6), ("val", 5), ("test", 2)):
        labels = np.repeat(np.arange(classes), images)
        rows = np.arange(len(labels))
        found[f"{part}_x"] = np.stack([rows, labels, np.ones_like(rows)], 1).astype(np.float16)
        found[f"{part}_y"] = labels
        if spatial:
            found[f"{part}_spatial"] = np.repeat(found[f"{part}_x"][:, None], 7, axis=1)
    return found


NAMES = ["ant", "bass", "cup", "dolphin"]


@pytest.fixture
def build(tmp_path, make_cfg):
    def make(content, shots=-1, name="bank.npz", **options):
        path = tmp_path / name
        np.savez(path, **{"classnames": np.array(NAMES), **content})
        return FeatureBank(make_cfg("/nowhere", shots, FEATURE_BANK=str(path), **options))

    return make


@pytest.mark.parametrize("spatial", [False, True])
def test_rows_follow_the_lists(build, spatial, tmp_path):
    random.seed(3)
    dataset = build(arrays(spatial=spatial), shots=2)
    bank = dataset.feature_bank
    for features, items in (
        (bank.train_x, dataset.train_x),
        (bank.val, dataset.val),
        (bank.test, dataset.test),
    ):
        assert features.global_features.dtype == torch.float32
        assert features.global_features[:, 1].tolist() == [item.label for item in items]
        assert {item.impath for item in items} == {str(tmp_path / "bank.npz")}
        if spatial:
            assert features.spatial_features.shape == (len(items), 7, 3)
            assert features.spatial_features[:, 4].equal(features.global_features)
        else:
            assert features.spatial_features is None
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == (8, 8, 8)
    assert bank.logit_scale == 100.0
    assert bank.backbone == "bank"
    assert bank.fingerprint == hashlib.sha256((tmp_path / "bank.npz").read_bytes()).hexdigest()


def test_shots_are_drawn_as_from_images(build):
    random.seed(3)
    dataset = build(arrays(), shots=2)
    random.seed(3)
    train = [row for label in range(4) for row in random.sample(range(6 * label, 6 * label + 6), 2)]
    val = [row for label in range(4) for row in random.sample(range(5 * label, 5 * label + 5), 2)]
    assert dataset.feature_bank.train_x.global_features[:, 0].tolist() == train
    assert dataset.feature_bank.val.global_features[:, 0].tolist() == val
    assert dataset.few_shot_lists["train"][0].path == f"bank.npz#train[{train[0]}]"


def test_ready_lists_are_taken_as_they_are(build):
    content = arrays()
    content["shot1_x"], content["shot1_y"] = np.eye(4, 3) + 9, np.array([2, 0, 1, 3])
    dataset = build(content, shots=1)
    assert [item.label for item in dataset.train_x] == [2, 0, 1, 3]
    assert np.array_equal(dataset.feature_bank.train_x.global_features, np.eye(4, 3) + 9)
    assert len(dataset.val) == 4


def test_without_val_ready_lists_have_none(build):
    content = {"text": np.eye(4, 3), "test_x": np.ones((1, 3)), "test_y": np.array([0])}
    content |= {"shot1_x": np.ones((4, 3)), "shot1_y": np.arange(4)}
    dataset = build(content, shots=1)
    assert dataset.feature_bank.val is None
    assert not dataset.val


def test_half_of_the_classes(build):
    dataset = build(arrays(), shots=1, SUBSAMPLE_CLASSES="new")
    assert dataset.classnames == ["cup", "dolphin"]
    assert np.array_equal(dataset.feature_bank.text, np.eye(4, 3)[2:])
    assert [item.label for item in dataset.test] == [0, 0, 1, 1]
    assert dataset.feature_bank.test.global_features[:, 1].tolist() == [2, 2, 3, 3]


def test_safetensors_hold_the_same(tmp_path, make_cfg):
    path = tmp_path / "bank.safetensors"
    content = {**arrays(), "logit_scale": np.array([50.0])}
    metadata = {"classnames": json.dumps(NAMES), "backbone": "tiny", "template": "a {}."}
    save_file(content, path, metadata)
    dataset = FeatureBank(make_cfg("/nowhere", 1, FEATURE_BANK=str(path)))
    assert dataset.classnames == NAMES
    assert dataset.template == "a {}."
    assert (dataset.feature_bank.backbone, dataset.feature_bank.logit_scale) == ("tiny", 50.0)


def changed(**changes):
    content = arrays()
    content.update(changes)
    return {name: value for name, value in content.items() if value is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(text=None), "lacks the array 'text'"),
        (changed(test_x=None), "lacks the array 'test_x'"),
        (changed(text=np.eye(3)), "one entry of classnames for each row"),
        (changed(val_x=np.ones((20, 2))), r"val_x has shape \(20, 2\), not \[N, 3\]"),
        (changed(val_y=np.arange(3)), "val_y must hold 20 whole numbers"),
        (changed(val_y=np.full(20, 4)), "labels outside 0 to 3"),
        (changed(val_x=np.full((20, 3), np.nan)), "val_x has values that are not finite"),
        (changed(text=np.full((4, 3), np.inf)), "text has values that are not finite"),
        (changed(test_spatial=np.ones((8, 3))), r"test_spatial must have shape \[8, S, C\]"),
        (changed(train_y=np.zeros(24, int)), "no image of class 'bass'"),
        (changed(train_x=None), r"has no 2-shot list, only \[\]"),
        (changed(text=np.array([{}])), "not a readable file of features"),
    ],
)
def test_contents_that_cannot_be_right(content, message, build):
    with pytest.raises(UserError, match=message):
        build(content, shots=2)


@pytest.mark.parametrize("name", ["bank.npz", "bank.safetensors"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x80\x04N."])
def test_files_that_are_no_banks(name, content, tmp_path, make_cfg):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: not a readable file of features"):
        FeatureBank(make_cfg("/nowhere", FEATURE_BANK=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "names no file"), ("x.npz", r"x\.npz: no such file"), ("x.pkl", "must end in")],
)
def test_names_that_cannot_be_right(name, message, make_cfg):
    with pytest.raises(UserError, match=message):
        FeatureBank(make_cfg("/nowhere", FEATURE_BANK=name))


@pytest.mark.parametrize("shots", [-1, 1, 16])
def test_zero_shot_of_real_clip_features(shots, real_data, make_cfg):
    cfg = make_cfg(real_data, shots, FEATURE_BANK=str(real_data / "caltech41_vitb32.npz"))
    dataset = FeatureBank(cfg)
    assert (dataset.num_classes, len(dataset.test)) == (41, 1041)
    bank = dataset.feature_bank
    similarities = F.normalize(bank.test.global_features) @ F.normalize(bank.text).T
    labels = torch.tensor([item.label for item in dataset.test])
    correct = (similarities.argmax(1) == labels).double().mean()
    assert round(100 * float(correct), 2) == 95.39
