"""Damaged and odd split files, banks, images and folders: lists, or one line; no traceback.

100 examples per test, always the same ones; VTCLIP_FUZZ=5000 runs that many.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dassl.config import get_cfg_default
from PIL import Image
from safetensors.numpy import save as safetensors_bytes

from datasets.base import ImageDataset
from datasets.dtd import DescribableTextures
from datasets.feature_bank import FeatureBank
from datasets.image_folder import ImageFolder
from datasets.imagenet import parse_classnames
from datasets.split import Sizes
from tests.fuzz.common import EDITS, FUZZ, edited, settles
from vtclip.config import extend_cfg
from vtclip.features import pixels

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import example, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [10**8, 10**30, -1, float("nan"), "\ud800", "x" * 300, "a/1.jpg", "./a/1.jpg"]
    )
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def configuration(root: Path, **options: Any) -> Any:
    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.DATASET.ROOT = str(root)
    cfg.DATASET.NUM_SHOTS = 1
    for key, value in options.items():
        cfg.DATASET[key] = value
    return cfg


def usable(dataset: ImageDataset | None) -> None:
    """Check that lists that are accepted can be worked with."""
    if dataset is not None:
        assert dataset.num_classes >= 2
        assert dataset.test
        lists = {**dataset.few_shot_lists, "test": dataset.test_list}
        json.dumps(lists, ensure_ascii=False).encode()
        assert {item.label for item in dataset.test_list} <= set(range(dataset.num_classes))


SPLIT: dict[str, Any] = {
    part: [[f"{name}/{number}.jpg", label, name] for label, name in enumerate("ab")]
    for part, number in (("train", 1), ("val", 2), ("test", 3))
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("data")
    for name in "ab":
        (root / "dtd/images" / name).mkdir(parents=True)
        for number in (1, 2, 3):
            (root / "dtd/images" / name / f"{number}.jpg").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DescribableTextures, "sizes", Sizes(2, 2, 2, 2))
        yield root


def read_split(root: Path, content: bytes) -> None:
    (root / "dtd" / DescribableTextures.split_file).write_bytes(content)
    for allow in (False, True):
        cfg = configuration(root, ALLOW_RANDOM_SPLIT=allow)
        usable(settles(lambda cfg=cfg: DescribableTextures(cfg)))


@FUZZ
@given(EDITS)
@example([(0.0, b"\xef\xbb\xbf", 0)])
@example([(0.0, b"[" * 100_000, 0)])
def test_damaged_split_files(root: Path, edits: list[tuple[float, bytes, int]]) -> None:
    read_split(root, edited(json.dumps(SPLIT).encode(), edits))


@FUZZ
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["train", "val", "test"]), st.integers(0, 1), st.integers(-1, 3), JSON
        ),
        min_size=1,
        max_size=3,
    )
)
@example([("train", 0, 1, 10**8)])
@example([("test", 1, 0, "x" * 5000)])
@example([("test", 1, 0, "y/" * 5000 + "1.jpg")])
def test_split_files_with_other_values(
    root: Path, changes: list[tuple[str, int, int, Any]]
) -> None:
    split = json.loads(json.dumps(SPLIT))
    for part, entry, place, value in changes:
        if place < 0:
            split[part] = value
        elif place == 3 and isinstance(split[part], list):
            split[part].append(value)
        elif isinstance(split[part], list) and len(split[part]) > entry and place < 3:
            row = split[part][entry]
            if isinstance(row, list) and len(row) > place:
                row[place] = value
    read_split(root, json.dumps(split).encode())


@FUZZ
@given(EDITS)
def test_damaged_class_names(root: Path, edits: list[tuple[float, bytes, int]]) -> None:
    path = root / "classnames.txt"
    lines = "".join(f"n{number:08d} name {number}\n" for number in range(5))
    path.write_bytes(edited(lines.encode(), edits))
    settles(lambda: parse_classnames(path, "fetch it"))


def bank_arrays() -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {"text": np.eye(2, 3, dtype=np.float16)}
    for part in ("train", "test"):
        arrays[f"{part}_x"] = np.ones((4, 3), np.float16)
        arrays[f"{part}_y"] = np.array([0, 1, 0, 1])
    arrays["test_spatial"] = np.ones((4, 2, 5), np.float16)
    arrays["logit_scale"] = np.array([100.0])
    return arrays


NAMES = np.array(["ant", "bee"])


def npz_bytes(arrays: dict[str, Any], compressed: bool) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


BANKS = {
    "plain.npz": npz_bytes({**bank_arrays(), "classnames": NAMES}, False),
    "packed.npz": npz_bytes({**bank_arrays(), "classnames": NAMES}, True),
    "bank.safetensors": safetensors_bytes(bank_arrays(), {"classnames": json.dumps([*NAMES])}),
}


def read_bank(root: Path, name: str, content: bytes) -> None:
    path = root / name
    path.write_bytes(content)
    dataset = settles(lambda: FeatureBank(configuration(root, FEATURE_BANK=str(path))))
    usable(dataset)
    if dataset is not None:
        assert 0 < dataset.feature_bank.logit_scale < np.inf
        for features in (dataset.feature_bank.train_x, dataset.feature_bank.test):
            assert np.isfinite(np.asarray(features.global_features) ** 2).all()


@pytest.mark.parametrize("name", BANKS)
def test_damaged_banks(name: str, root: Path) -> None:
    @FUZZ
    @given(EDITS)
    def run(edits: list[tuple[float, bytes, int]]) -> None:
        read_bank(root, name, edited(BANKS[name], edits))

    run()


ARRAYS = st.builds(
    lambda dtype, shape, value: np.full(shape, value).astype(dtype),
    st.sampled_from(["f2", "f4", "f8", "i8", "u1", "?", "c8", "U3", "S3", "M8[s]"]),
    st.lists(st.integers(0, 4), max_size=4).map(tuple),
    st.sampled_from([0, 1, 2, -1, 5]),
)


@FUZZ
@given(
    st.dictionaries(
        st.sampled_from(
            [*bank_arrays(), "classnames", "backbone", "val_x", "val_y", "shot1_x", "shot1_y", "_x"]
        ),
        st.none() | ARRAYS,
        min_size=1,
        max_size=3,
    )
)
def test_banks_of_other_arrays(root: Path, changes: dict[str, np.ndarray | None]) -> None:
    arrays: dict[str, Any] = {**bank_arrays(), "classnames": NAMES, **changes}
    content = {name: value for name, value in arrays.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_bank(root, "other.npz", npz_bytes(content, False))


def image_bytes(mode: str, kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (24, 20, 4), dtype=np.uint8)
    file = io.BytesIO()
    if mode == "F":
        image = Image.fromarray(noise[..., 0].astype(np.float32) / 255)
    elif mode == "I;16":
        image = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(noise[..., :3]).convert(mode)
    image.save(file, kind)
    return file.getvalue()


IMAGES = {
    f"{mode}.{kind}": image_bytes(mode, kind)
    for mode, kind in (
        ("RGB", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "PNG"),
        ("P", "PNG"),
        ("I;16", "PNG"),
        ("RGB", "WEBP"),
        ("RGB", "BMP"),
        ("P", "GIF"),
        ("RGB", "TIFF"),
        ("I;16", "TIFF"),
        ("F", "TIFF"),
    )
}


def decode(content: bytes) -> None:
    image = settles(lambda: pixels.decode_image(content, Path("photo.jpg")))
    if image is not None:
        assert image.mode == "RGB"
        assert image.width * image.height <= pixels.MAX_PIXELS


@pytest.mark.parametrize("name", IMAGES)
def test_damaged_images(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # a header that claims a large image would cost seconds and not a crash
    monkeypatch.setattr(pixels, "MAX_PIXELS", 1_000_000)

    @FUZZ
    @given(EDITS)
    def run(edits: list[tuple[float, bytes, int]]) -> None:
        decode(edited(IMAGES[name], edits))

    run()


@FUZZ
@given(st.sampled_from(sorted(IMAGES)), st.integers(2, 40), st.binary(max_size=200))
def test_the_start_of_an_image_and_then_anything(name: str, length: int, rest: bytes) -> None:
    decode(IMAGES[name][:length] + rest)


FOLDERS = st.sampled_from(
    [b"train", b"Test", b"testing", b"valid", b"val", b"apple", b"sea", b"in", b".git", b"oc\xe9an"]
)
FILES = st.sampled_from([b"1.jpg", b"2.JFIF", b"3.txt", b".DS_Store", b"\xff.png", b"5.svg"])
PLACES = st.lists(FOLDERS, max_size=3)
# the folder, the name in it, and what it is; of a link also where to
ENTRIES = st.lists(
    st.tuples(PLACES, FILES, st.just("file"), st.just(b""))
    | st.tuples(PLACES, FOLDERS, st.just("folder"), st.just(b""))
    | st.tuples(PLACES, FILES, st.just("pipe"), st.just(b""))
    | st.tuples(
        PLACES,
        FOLDERS | FILES,
        st.just("link"),
        st.sampled_from([b".", b"..", b"../..", b"../sea", b"nowhere", b"train", b"apple"]),
    ),
    max_size=12,
)


def make(root: Path, entries: list[tuple[list[bytes], bytes, str, bytes]]) -> None:
    for places, name, kind, target in entries:
        folder = root.joinpath(*map(os.fsdecode, places))
        path = folder / os.fsdecode(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                path.touch(exist_ok=False)
            elif kind == "folder":
                path.mkdir()
            elif kind == "pipe":
                os.mkfifo(path)
            else:
                path.symlink_to(os.fsdecode(target))
        except OSError:
            # another entry has the name, or a link leads nowhere
            continue


PHOTOS = [
    ([folder], name, "file", b"")
    for folder in (b"apple", b"sea")
    for name in (b"1.jpg", b"2.jpg", b"3.jpg", b"4.jpg")
]


@FUZZ
@given(ENTRIES, st.sampled_from([[], [b"train"], [b"Test"], [b"in"], [b"in", b"training"]]))
def test_folder_layouts(entries: list[Any], place: list[bytes]) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        photos = [([*place, *folder], *rest) for folder, *rest in PHOTOS]
        make(root / "photos", [*photos, *entries])
        random.seed(0)
        usable(settles(lambda: ImageFolder(configuration(root / "photos"))))
    finally:
        shutil.rmtree(root)
