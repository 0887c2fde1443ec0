"""Features of a list: equal from every source, and encoded again when anything differs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from vtclip.backbones.base import VisualTokens
from vtclip.errors import UserError
from vtclip.features import (
    Encoding,
    FeatureLoader,
    Features,
    FeatureSource,
    FeatureStore,
    MemoryFeatures,
    OnTheFlyFeatures,
    extract,
    image_features,
    stored,
)

from .stub import StubBackbone, plain_transform, write_images


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def features_of(
    paths: list[Path], encoding: Encoding, store: FeatureStore | None, **settings: Any
) -> FeatureSource:
    settings = {"batch_size": 4, "workers": 0, **settings}
    return image_features(paths, encoding, cache=store, **settings)


def everything(source: FeatureSource) -> Features:
    return source.fetch(torch.arange(len(source)))


def assert_same(one: Features, other: Features) -> None:
    assert torch.equal(one.global_features, other.global_features)
    if one.spatial_features is None or other.spatial_features is None:
        assert one.spatial_features is other.spatial_features
    else:
        assert torch.equal(one.spatial_features, other.spatial_features)


def assert_close(one: Features, other: Features) -> None:
    torch.testing.assert_close(one.global_features, other.global_features)
    torch.testing.assert_close(one.spatial_features, other.spatial_features)


def encoded_since(encoding: Encoding) -> int:
    """Return how many images were encoded since the last call."""
    backbone = encoding.backbone
    assert isinstance(backbone, StubBackbone)
    count, backbone.encoded = backbone.encoded, 0
    return count


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("tokens", ["joint", "backbone", None])
def test_on_the_fly_memory_and_disk_are_equal(
    paths: list[Path],
    encoding: Encoding,
    store: FeatureStore,
    monkeypatch: pytest.MonkeyPatch,
    tokens: Any,
    precision: Any,
) -> None:
    chosen = replace(encoding, tokens=tokens, precision=precision)
    written = features_of(paths, chosen, store)
    again = features_of(paths, chosen, FeatureStore(store.root))
    memory = features_of(paths, chosen, None)
    monkeypatch.setattr(extract, "LARGE", 0)
    on_the_fly = features_of(paths, chosen, None)
    assert isinstance(memory, MemoryFeatures)
    assert isinstance(on_the_fly, OnTheFlyFeatures)
    expected = everything(on_the_fly)
    assert (expected.spatial_features is None) == (tokens is None)
    for source in (written, again, memory):
        assert len(source) == len(paths)
        assert_same(everything(source), expected)


def test_rows_in_any_order_and_repeated(
    paths: list[Path], encoding: Encoding, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "SHARD_BYTES", 1)  # one shard per batch
    source = features_of(paths, encoding, store)
    assert len(store.entries()[0].shards()) == 3
    rows = torch.tensor([9, 0, 4, 0, 5])
    fetched, whole = source.fetch(rows), everything(features_of(paths, encoding, None))
    assert whole.spatial_features is not None
    assert_same(fetched, whole[rows])


def test_a_list_that_overlaps_encodes_only_what_is_new(
    paths: list[Path], encoding: Encoding, store: FeatureStore
) -> None:
    features_of(paths[:6], encoding, store)
    encoded_since(encoding)
    mixed = [paths[8], *paths[3:], paths[8], paths[0]]
    source = features_of(mixed, encoding, store)
    assert encoded_since(encoding) == 4 + 1  # four new ones, and one to learn the size
    assert_same(everything(source), everything(features_of(mixed, encoding, None)))
    encoded_since(encoding)
    features_of(mixed, encoding, store)
    assert encoded_since(encoding) == 0


def test_the_same_bytes_elsewhere_are_the_same_image(
    paths: list[Path], encoding: Encoding, store: FeatureStore, tmp_path: Path
) -> None:
    features_of(paths, encoding, store)
    copy = tmp_path / "copy.png"
    copy.write_bytes(paths[0].read_bytes())
    encoded_since(encoding)
    features_of([copy], encoding, store)
    assert encoded_since(encoding) == 0
    features_of([copy], encoding, store, key="stat")
    assert encoded_since(encoding) > 0


@pytest.mark.parametrize("key", ["content", "stat"])
def test_a_changed_pixel_is_a_new_image(
    paths: list[Path], encoding: Encoding, store: FeatureStore, key: str
) -> None:
    before = everything(features_of(paths, encoding, store, key=key))
    with Image.open(paths[2]) as image:
        image.putpixel((3, 3), (1, 2, 3))
        image.save(paths[2])
    after = everything(features_of(paths, encoding, store, key=key))
    changed = (before.global_features != after.global_features).any(1)
    assert changed.nonzero().flatten().tolist() == [2]
    assert_close(after, everything(features_of(paths, encoding, None)))


def test_stat_tells_apart_by_time(
    paths: list[Path], encoding: Encoding, store: FeatureStore
) -> None:
    features_of(paths, encoding, store, key="stat")
    encoded_since(encoding)
    features_of(paths, encoding, store, key="stat")
    assert encoded_since(encoding) == 0
    os.utime(paths[0], ns=(1, 1))
    features_of(paths, encoding, store, key="stat")
    assert encoded_since(encoding) == 1 + 1


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": StubBackbone(seed=1)},
        {"transform_key": "another"},
        {"precision": "bf16"},
        {"view": 0},
        {"tokens": "backbone"},
    ],
)
def test_a_changed_encoding_is_encoded_anew(
    paths: list[Path], encoding: Encoding, store: FeatureStore, change: dict[str, Any]
) -> None:
    features_of(paths, encoding, store)
    changed = replace(encoding, **change)
    encoded_since(changed)
    source = features_of(paths, changed, store)
    assert encoded_since(changed) > 0
    assert_same(everything(source), everything(features_of(paths, changed, None)))


def test_two_views_are_two_entries(
    paths: list[Path], encoding: Encoding, store: FeatureStore
) -> None:
    def noisy(image: Image.Image) -> Tensor:
        return plain_transform(image) + torch.rand(())

    views = [replace(encoding, transform=noisy, transform_key="noisy", view=v) for v in (0, 1)]
    first, second = (everything(features_of(paths, view, store)) for view in views)
    assert not torch.equal(first.global_features, second.global_features)
    # another run, another seed, another list: the same views
    torch.manual_seed(1)
    again = features_of(paths[5:], views[0], store, batch_size=2)
    assert torch.equal(everything(again).global_features, first.global_features[5:])


def test_global_features_are_served_without_spatial_ones(
    paths: list[Path], encoding: Encoding, store: FeatureStore
) -> None:
    alone = replace(encoding, tokens=None)
    features_of(paths[:5], alone, store)
    features_of(paths[5:], encoding, store)
    encoded_since(encoding)
    source = features_of(paths, alone, store)
    assert encoded_since(encoding) == 0
    assert everything(source).spatial_features is None
    # the other way round there is something to encode
    features_of(paths, encoding, store)
    assert encoded_since(encoding) == 5 + 1


def test_damage_is_encoded_again(
    paths: list[Path], encoding: Encoding, store: FeatureStore
) -> None:
    expected = everything(features_of(paths, encoding, store))
    entry = store.entries()[0]
    whole = entry.shards()[0].path.read_bytes()
    for damaged in (whole[:-1], whole[:40], b"", whole + b"\0", b"\xff" * len(whole)):
        entry.shards()[0].path.write_bytes(damaged)
        assert entry.shards() == []
        assert_same(everything(features_of(paths, encoding, store)), expected)
        assert len(list(entry.folder.glob("*.safetensors"))) == 1


def test_a_shard_of_another_entry_is_not_used(
    paths: list[Path], encoding: Encoding, store: FeatureStore
) -> None:
    features_of(paths, encoding, store)
    features_of(paths, replace(encoding, view=0), store)
    one, other = store.entries()
    misplaced = one.shards()[0].path
    misplaced.rename(other.folder / misplaced.name)
    assert [s.path for s in other.shards()] != []
    assert misplaced.name not in {s.path.name for s in other.shards()}


def test_what_was_read_survives_pruning(
    paths: list[Path], encoding: Encoding, store: FeatureStore
) -> None:
    source = features_of(paths, encoding, store)
    expected = everything(source)
    assert store.entries()[0].remove() == "removed"
    assert store.entries() == []
    assert_same(everything(source), expected)


def test_streaming_reads_ahead_in_the_order_of_the_loader(
    paths: list[Path], encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = everything(features_of(paths, encoding, None)).global_features
    monkeypatch.setattr(extract, "LARGE", 0)
    on_the_fly = features_of(paths, encoding, None, workers=2)
    loader = FeatureLoader(
        [on_the_fly], torch.zeros(len(paths), dtype=torch.int64), 4, shuffle=True
    )
    for batch in loader:
        torch.testing.assert_close(batch["features"].global_features, expected[batch["index"]])


def test_large_encodes_are_announced(
    paths: list[Path],
    encoding: Encoding,
    store: FeatureStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    features_of(paths, encoding, FeatureStore(store.root / "small"))
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(extract, "LARGE", 0)
    features_of(paths, encoding, store, desc="test")
    printed = capsys.readouterr().out
    assert printed.startswith("test: 0.0 GB of features go to ")
    assert "FEATURES.CACHE False encodes on the fly" in printed
    assert printed.count("\n") == 1


def test_a_disk_that_is_too_small_is_told_before_encoding(
    paths: list[Path], encoding: Encoding, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        extract.shutil,
        "disk_usage",
        lambda _: type("Usage", (), {"free": 100}),  # type: ignore[attr-defined]
    )
    with pytest.raises(UserError, match=r"do not fit.*FEATURES\.ROOT"):
        features_of(paths, encoding, store)
    assert store.entries()[0].shards() == []


def test_missing_images_and_unknown_keys(
    paths: list[Path], encoding: Encoding, store: FeatureStore
) -> None:
    gone = paths[0].with_name("gone.png")
    for key in ("content", "stat"):
        with pytest.raises(UserError, match=r"gone\.png: cannot be read"):
            features_of([*paths, gone], encoding, store, key=key)
    with pytest.raises(UserError, match=r"FEATURES\.KEY.*did you mean content"):
        features_of(paths, encoding, store, key="contents")
    with pytest.raises(ValueError, match="no images"):
        features_of([], encoding, store)


def test_old_shards_are_written_before_they_are_large(
    tmp_path: Path, encoding: Encoding, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "SHARD_SECONDS", 0.0)
    features_of(write_images(tmp_path / "more", 8), encoding, store)
    assert [shard.images for shard in store.entries()[0].shards()] == [4, 4]


def test_compile_sees_one_batch_size(
    paths: list[Path], encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def compiled(function: Callable[..., Features]) -> Callable[..., Features]:
        def run(images: Tensor, tokens: VisualTokens | None) -> Features:
            sizes.append(len(images))
            return function(images, tokens)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    source = features_of(paths, replace(encoding, compile=True), None)
    assert sizes == [4, 4, 4]
    assert len(source) == len(paths)
    assert_close(everything(source), everything(features_of(paths, encoding, None)))
