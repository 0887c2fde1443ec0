"""Shards whose bytes or values are not those that were written."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from vtclip.errors import UserError
from vtclip.features import Encoding, FeatureStore, image_features, store, stored
from vtclip.features.store import CacheEntry
from vtclip.files import sha256_of_file

from .stub import StubBackbone


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def encoded_and_features(
    paths: list[Path], encoding: Encoding, root: Path
) -> tuple[int, Tensor, Tensor]:
    """Return how many images were encoded, and the global and spatial features of the list."""
    backbone = encoding.backbone
    assert isinstance(backbone, StubBackbone)
    backbone.encoded = 0
    source = image_features(paths, encoding, cache=FeatureStore(root), workers=0)
    features = source.fetch(torch.arange(len(paths)))
    assert features.spatial_features is not None
    return backbone.encoded, features.global_features, features.spatial_features


def only_entry(root: Path) -> CacheEntry:
    (entry,) = FeatureStore(root).entries()
    return entry


def forge(entry: CacheEntry, tensors: dict[str, Tensor], tokens: str = "joint") -> Path:
    """Write a shard that has the right checksum."""
    content = save(tensors, entry.metadata(tokens))
    path = entry.folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("place", [-1, -400, 700])
def test_a_changed_byte_is_found_before_it_is_used(
    place: int,
    paths: list[Path],
    encoding: Encoding,
    root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, *expected = encoded_and_features(paths, encoding, root)
    shard = only_entry(root).shards()[0].path
    content = bytearray(shard.read_bytes())
    content[place] ^= 0x20
    shard.write_bytes(content)
    capsys.readouterr()
    count, *found = encoded_and_features(paths, encoding, root)
    assert count == len(paths) + 1
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{shard}: damaged (it differs from its checksum), not used")
    assert encoded_and_features(paths, encoding, root)[0] == 0
    assert capsys.readouterr().out == ""


def test_a_shard_is_compared_once_until_it_changes(
    paths: list[Path], encoding: Encoding, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256_of_file(path)

    monkeypatch.setattr(store, "sha256_of_file", counted)
    encoded_and_features(paths, encoding, root)
    # the process that writes knows the checksum
    assert hashed == []
    shard = only_entry(root).shards()[0].path
    os.utime(shard, (1, 1))
    for _ in range(2):
        assert encoded_and_features(paths, encoding, root)[0] == 0
        assert hashed == [shard]
    for record in ("{", "[]", f'{{"{shard.name}": 3}}', "[" * 100_000):
        (shard.parent / "checked.json").write_text(record)
        hashed.clear()
        for _ in range(2):
            assert encoded_and_features(paths, encoding, root)[0] == 0
            assert hashed == [shard]


@pytest.mark.parametrize("name", ["global", "spatial"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "are not finite"),
        (-float("inf"), "are not finite"),
        (1e20, "are beyond 1e+18, so that their squares overflow"),
    ],
)
def test_values_that_cannot_be_computed_with_are_refused(
    name: str, value: float, said: str, paths: list[Path], encoding: Encoding, root: Path
) -> None:
    encoded_and_features(paths, encoding, root)
    entry = only_entry(root)
    whole = entry.shards()[0].path
    tensors = load(whole.read_bytes())
    whole.unlink()
    tensors[name][7].view(-1)[3] = value
    path = forge(entry, tensors)
    for _ in range(2):
        with pytest.raises(UserError) as refused:
            encoded_and_features(paths, encoding, root)
        assert str(refused.value).startswith(f"{path}: {name} features {said} (row 7, ")
    path.unlink()
    assert encoded_and_features(paths, encoding, root)[0] == len(paths) + 1


def test_shards_of_two_widths_are_refused(
    paths: list[Path], encoding: Encoding, root: Path
) -> None:
    encoded_and_features(paths, encoding, root)
    entry = only_entry(root)
    other = {
        "keys": torch.zeros(1, 32, dtype=torch.uint8),
        "global": torch.ones(1, 7),
        "spatial": torch.ones(1, 16, 6),
    }
    forge(entry, other)
    with pytest.raises(UserError, match=r"global features of shape \[\d\], but \[\d\] in another"):
        encoded_and_features(paths, encoding, root)


def test_arrays_that_are_no_shard_are_passed_over(
    paths: list[Path], encoding: Encoding, root: Path
) -> None:
    _, *expected = encoded_and_features(paths, encoding, root)
    entry = only_entry(root)
    good = load(entry.shards()[0].path.read_bytes())
    keys = good["keys"]
    broken: list[tuple[dict[str, Tensor], str]] = [
        ({**good, "keys": keys[:, :31].clone()}, "joint"),
        ({**good, "keys": keys.float()}, "joint"),
        ({**good, "keys": torch.zeros((), dtype=torch.uint8)}, "joint"),
        ({**good, "global": good["global"][:9].clone()}, "joint"),
        ({**good, "global": good["global"].bfloat16()}, "joint"),
        ({**good, "global": good["global"].double()}, "joint"),
        ({**good, "spatial": good["spatial"].flatten(1)}, "joint"),
        ({**good, "more": torch.ones(1)}, "joint"),
        ({"keys": keys, "global": good["global"]}, "joint"),
        (good, "none"),
        (good, "other"),
        ({name: values[:0].clone() for name, values in good.items()}, "joint"),
        ({"keys": keys}, "none"),
    ]
    for tensors, tokens in broken:
        forge(entry, tensors, tokens)
    assert len(entry.shards()) == 1
    count, *found = encoded_and_features(paths, encoding, root)
    assert count == 0
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_global_features_of_entries_with_both_kinds_of_tokens(
    paths: list[Path], encoding: Encoding, root: Path
) -> None:
    for tokens, chosen in (("joint", paths[:5]), ("backbone", paths[5:])):
        features = replace(encoding, tokens=tokens)  # type: ignore[arg-type]
        image_features(chosen, features, cache=FeatureStore(root), workers=0)
    alone = replace(encoding, tokens=None)
    source = stored.StoredFeatures(only_entry(root), [bytes(32)], None)
    assert source.missing == [0]
    assert len(image_features(paths, alone, cache=FeatureStore(root), workers=0)) == len(paths)
