"""Banks of features: the rows follow the lists, and bad files are refused."""

import hashlib
import io
import json
import random
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

from datasets import bank_arrays
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
        (changed(train_x=None, train_y=None), r"has no 2-shot list, only \[\]"),
        (changed(text=np.array([{}])), "not a readable file of features .*Python objects"),
        (changed(val_y=np.full(20, 10**8)), "labels outside 0 to 3"),
        (changed(val_y=np.full(20, 2**64 - 1, np.uint64)), "labels outside 0 to 3"),
        (changed(val_y=np.full(20, -1)), "labels outside 0 to 3"),
        (changed(val_y=np.zeros(20, bool)), "val_y must hold 20 whole numbers"),
        (changed(val_y=np.full(20, "a")), "val_y must hold 20 whole numbers"),
        (changed(val_y=np.zeros((20, 1), int)), "val_y must hold 20 whole numbers"),
        (changed(val_x=None), "has other arrays of val but lacks val_x"),
        (changed(val_x=np.full((20, 3), "a")), "val_x must hold numbers, but holds str"),
        (changed(val_x=np.full((20, 3), 1j)), "val_x must hold numbers, but holds complex"),
        (changed(val_x=np.full((20, 3), 2e18)), r"val_x has values beyond 1e\+18"),
        (changed(val_x=np.full((20, 3), -1e300)), "val_x has values beyond"),
        (changed(text=np.full((4, 3), "x")), "text must hold numbers"),
        (changed(test_spatial=np.full((8, 2, 3), np.nan)), "test_spatial has values that are not"),
        (changed(test_spatial=np.full((8, 2, 3), -np.inf)), "test_spatial has values that are not"),
        (changed(test_spatial=np.full((8, 2, 3), 1e20)), "test_spatial has values beyond"),
        (changed(test_spatial=np.full((8, 2, 3), "a")), "test_spatial must hold numbers"),
        (changed(test_spatial=np.ones((8, 0, 3))), r"test_spatial must have shape \[8, S, C\]"),
        (
            changed(test_spatial=np.ones((8, 2, 3)), val_spatial=np.ones((20, 7, 3))),
            r"several shapes \[S, C\]",
        ),
        (changed(classnames=np.arange(4)), "must be text, but hold 0"),
        (changed(classnames=np.array([b"a", b"b", b"c", b"d"])), "must be text, but hold b'a'"),
        (changed(classnames=np.array(["a", "b", "c", "\udce9"])), "must be text, but hold"),
        (changed(classnames=np.array("ant")), "one entry of classnames for each row"),
        (changed(backbone=np.array(["a", "b"])), "must be text, but hold"),
        (changed(logit_scale=np.array(np.nan)), "logit_scale is nan; it must be finite and above"),
        (changed(logit_scale=np.array(np.inf)), "logit_scale is inf; it must be finite"),
        (changed(logit_scale=np.array(0.0)), "logit_scale is 0.0; it must be finite and above 0"),
        (changed(logit_scale=np.array(-4.6)), "logit_scale is -4.6; it must be"),
        (changed(logit_scale=np.array(1e-300)), "logit_scale is 1e-300; it must be"),
        (changed(logit_scale=np.array(1e300)), r"logit_scale is 1e\+300; it must be"),
        (changed(logit_scale=np.array("100")), "logit_scale must be one number"),
        (changed(logit_scale=np.ones(2)), "logit_scale must be one number"),
        (changed(logit_scale=np.ones(0)), "logit_scale must be one number"),
    ],
)
def test_contents_that_cannot_be_right(content, message, build):
    with pytest.raises(UserError, match=message):
        build(content, shots=2)


def test_the_bytes_of_a_damaged_file_are_not_shown(tmp_path, make_cfg):
    path = tmp_path / "bank.npz"
    np.savez(path, classnames=np.array(NAMES), **arrays())
    content = path.read_bytes()
    # the first entry's own header says that its name has 32767 bytes
    path.write_bytes(content[:26] + b"\xff\x7f" + content[28:].ljust(40_000, b"\xff"))
    with pytest.raises(UserError, match="not a readable file of features") as caught:
        FeatureBank(make_cfg("/nowhere", 2, FEATURE_BANK=str(path)))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("scale", "said"), [(4.6052, True), (0.07, True), (10.0, False)])
def test_a_scale_that_may_be_a_logarithm_is_pointed_out(scale, said, build, capsys):
    dataset = build(changed(logit_scale=np.array(scale)))
    assert dataset.feature_bank.logit_scale == scale
    out = capsys.readouterr().out
    assert (f"logit_scale is {scale:g}, which may be a logarithm" in out) == said


def test_a_single_class_is_refused(build):
    content = {"text": np.ones((1, 3)), "test_x": np.ones((2, 3)), "test_y": np.zeros(2, int)}
    content |= {"train_x": np.ones((2, 3)), "train_y": np.zeros(2, int)}
    with pytest.raises(UserError, match=r"bank\.npz: holds a single class \(ant\)"):
        build({**content, "classnames": np.array(["ant"])})


def npy_bytes(shape, data=b"", dtype="<f4"):
    """An array file whose header claims `shape`."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + data


def write_npz(path, members, kind=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def refused(path, make_cfg, message):
    tracemalloc.start()
    with pytest.raises(UserError, match=message) as caught:
        FeatureBank(make_cfg("/nowhere", FEATURE_BANK=str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("shape", [(2**41,), (10**12, 512), (-1, 4), (10**30,)])
def test_headers_that_claim_more_than_there_is(shape, tmp_path, make_cfg):
    path = write_npz(tmp_path / "bank.npz", {"test_x": npy_bytes(shape, bytes(64))})
    refused(path, make_cfg, r"header of test_x claims -?[\d,]+ bytes, but there are 64")


def test_files_that_unpack_to_much_more(tmp_path, make_cfg):
    rows = 20_000_000
    path = tmp_path / "bank.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("test_x.npy", "w") as member,
    ):
        member.write(npy_bytes((rows, 4)))
        for _ in range(rows * 16 // 1_000_000):
            member.write(bytes(1_000_000))
    assert path.stat().st_size < 2_600_000
    refused(path, make_cfg, "unpacks to 320,000,128 bytes, more than features can")


@pytest.mark.parametrize("name", ["bank.npz", "bank.safetensors"])
def test_files_larger_than_the_memory(name, build, tmp_path, make_cfg, monkeypatch):
    build(arrays())
    save_file(arrays(), tmp_path / "bank.safetensors", {"classnames": json.dumps(NAMES)})
    monkeypatch.setattr(bank_arrays, "physical_memory", lambda: 500)
    refused(tmp_path / name, make_cfg, r"arrays take [\d,]+ bytes, but the memory has 500")


def test_a_safetensors_header_that_claims_terabytes(tmp_path, make_cfg):
    header = {"test_x": {"dtype": "F32", "shape": [2**31, 1024], "data_offsets": [0, 2**43]}}
    content = json.dumps(header).encode()
    path = tmp_path / "bank.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content + bytes(64))
    refused(path, make_cfg, "not a readable file of features")


def test_safetensors_of_a_type_that_numpy_lacks(tmp_path, make_cfg):
    import torch
    from safetensors.torch import save_file as save_torch

    path = tmp_path / "bank.safetensors"
    tensors = {name: torch.ones(4, 3, dtype=torch.float8_e4m3fn) for name in ("text", "test_x")}
    save_torch(tensors, path, {"classnames": json.dumps(NAMES)})
    refused(path, make_cfg, "not a readable file of features")


def test_members_that_are_no_arrays(tmp_path, make_cfg):
    path = tmp_path / "bank.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    refused(path, make_cfg, r"holds 'notes\.txt', which is no array")
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    refused(path, make_cfg, "not a readable file of features")


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
