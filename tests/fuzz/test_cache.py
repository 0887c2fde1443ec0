"""Damaged and forged files of the feature cache: the right features, or one line.

50 examples per test, always the same ones; VTCLIP_FUZZ=5000 runs half as many.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tests.features.stub import StubBackbone, plain_transform, write_images
from vtclip.errors import UserError, run_command
from vtclip.features import Encoding, FeatureStore, image_features
from vtclip.features.__main__ import main

pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given
from hypothesis import strategies as st

from .common import EDITS, edited, fuzz, within

FUZZ = fuzz(0.5)
IMAGES = 4
SECONDS = 20
DEEP = 50_000
HEADER_BYTES = 8

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
SIZES = st.sampled_from([-1, 0, 1, 2, 3, 31, 32, 2**31, 2**63 - 1, 2**64, 1e300, None, "2"])
DTYPES = st.sampled_from(
    ["U8", "I8", "BOOL", "F16", "BF16", "F32", "F64", "I64", "F8_E4M3", "X", 3]
)


class Cache:
    """A whole cache of one entry with two shards, and what belongs to somebody else."""

    def __init__(self, folder: Path) -> None:
        self.paths = write_images(folder / "images", IMAGES)
        self.encoding = Encoding(StubBackbone(), plain_transform, "plain")
        self.whole = folder / "whole"
        for half in (self.paths[:2], self.paths[2:]):
            self.read(self.whole, half)
        (entry,) = FeatureStore(self.whole).entries()
        self.entry = entry.folder.name
        self.shards = sorted(path.name for path in entry.folder.glob("*.safetensors"))
        self.expected = self.read(self.whole, self.paths)

    def read(self, root: Path, paths: list[Path]) -> list[Tensor]:
        # one image per batch: the same numbers, whichever of them are encoded again
        source = image_features(
            paths, self.encoding, cache=FeatureStore(root), workers=0, batch_size=1
        )
        features = source.fetch(torch.arange(len(paths)))
        assert features.spatial_features is not None
        return [features.global_features, features.spatial_features]

    def copy(self, root: Path) -> Path:
        """Make a copy with times of change, and files of others beside it; return the entry."""
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.whole, root)
        (root / "notes").mkdir()
        for name in ("notes/encoding.json", "notes/thesis", "thesis", "encoding.json"):
            (root / name).write_text('{"title": "three years"}')
        return root / self.entry


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


def foreign_files(root: Path, entry: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".lock" and not path.is_relative_to(entry)
    }


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command; its errors are lines, none of them a traceback."""
    capsys.readouterr()
    code = run_command(lambda: main(list(arguments)))
    out, err = capsys.readouterr()
    (out + err).encode()
    assert all(line.startswith("error: ") for line in err.splitlines())
    assert len(err) < 4000
    return code, out, err


def examine(
    cache: Cache,
    entry: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    honest: bool = True,
    own: bool = True,
) -> None:
    """List, read, list and prune.

    Args:
        cache: the whole one.
        entry: the damaged one.
        capsys: takes what is printed.
        honest: checksums are not forged, so that features must be the right ones.
        own: nothing was put into the entry that the cache would not have.
    """
    root = entry.parent
    before = foreign_files(root, entry)
    inside = {path.name for path in entry.iterdir()}
    with within(SECONDS):
        code, out, _ = command(capsys, "ls", "--root", str(root))
        assert code == 0
        assert entry.name[:8] in out
        assert {path.name for path in entry.iterdir()} == inside
        try:
            found = cache.read(root, cache.paths)
        except UserError as error:
            assert not honest
            assert len(str(error)) < 1000
            str(error).encode()
        else:
            if honest:
                torch.testing.assert_close(found, cache.expected, rtol=0, atol=0)
        assert command(capsys, "ls", "--root", str(root))[0] == 0
        assert command(capsys, "verify", "--root", str(root))[0] in (0, 1)
        # a run may have replaced a shard that is another entry's by the one of that name
        own = own and not _names_another(entry)
        # the folder `notes` is another one's
        code, _, err = command(capsys, "prune", "--all", "--root", str(root))
        assert code == 1
        assert len(err.splitlines()) == (1 if own else 2)
    assert entry.exists() is not own
    assert foreign_files(root, entry) == before


@FUZZ
@given(edits=EDITS)
def test_descriptions_with_damaged_bytes(cache, tmp_path: Path, capsys, edits) -> None:
    entry = cache.copy(tmp_path / "store")
    path = entry / "encoding.json"
    path.write_bytes(edited(path.read_bytes(), edits))
    examine(cache, entry, capsys)


@FUZZ
@given(data=st.data())
def test_descriptions_of_another_structure(cache, tmp_path: Path, capsys, data) -> None:
    entry = cache.copy(tmp_path / "store")
    path = entry / "encoding.json"
    description = json.loads(path.read_bytes())
    kind = data.draw(st.sampled_from(["value", "key", "less", "anything", "deep"]))
    if kind == "value":
        description[data.draw(st.sampled_from(sorted(description)))] = data.draw(JSON)
    elif kind == "key":
        description[data.draw(st.text())] = data.draw(JSON)
    elif kind == "less":
        for key in data.draw(st.sets(st.sampled_from(sorted(description)))):
            del description[key]
    elif kind == "anything":
        description = data.draw(JSON)
    text = json.dumps(description)
    if kind == "deep":
        opening = data.draw(st.sampled_from(["[", '{"format":', '{"a":[']))
        text = opening * DEEP
    path.write_text(text)
    examine(cache, entry, capsys)


@FUZZ
@given(edits=EDITS, data=st.data())
def test_shards_and_records_with_damaged_bytes(cache, tmp_path: Path, capsys, edits, data) -> None:
    entry = cache.copy(tmp_path / "store")
    for name in data.draw(st.sets(st.sampled_from([*cache.shards, "checked.json"]), min_size=1)):
        content = (entry / name).read_bytes()
        (entry / name).write_bytes(edited(content, edits))
    examine(cache, entry, capsys)


@FUZZ
@given(
    keep=st.floats(0, 1),
    fill=st.integers(0, 300),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=3),
    shard=st.integers(0, 1),
)
def test_shards_cut_filled_and_with_flipped_bits(
    cache, tmp_path: Path, capsys, keep, fill, flips, shard
) -> None:
    entry = cache.copy(tmp_path / "store")
    path = entry / cache.shards[shard]
    content = bytearray(path.read_bytes())
    for where, bit in flips:
        content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(bytes(content) if flips else bytes(content[: int(keep * len(content))]))
    if not flips:
        with path.open("ab") as file:
            file.write(bytes(fill))
    examine(cache, entry, capsys)


def _names_another(entry: Path) -> bool:
    """Return whether a shard can be read but is of another entry by its header."""
    for path in entry.glob("*.safetensors"):
        try:
            header = _header_of(path.read_bytes())[0]
            owner = (header.get("__metadata__") or {}).get("shelf")
        except (ValueError, AttributeError, RecursionError):
            continue
        if owner != entry.name and _opens(path):
            return True
    return False


def _opens(path: Path) -> bool:
    try:
        with safe_open(path, "numpy"):
            return True
    except (SafetensorError, OSError):
        return False


def _header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(content[:HEADER_BYTES], "little")
    return json.loads(content[HEADER_BYTES:][:length]), content[HEADER_BYTES + length :]


@pytest.mark.parametrize("forged", [False, True])
@FUZZ
@given(data=st.data())
def test_shards_with_other_headers(cache, tmp_path: Path, capsys, forged: bool, data) -> None:
    """With `forged`, the file has the name that belongs to its new checksum."""
    entry = cache.copy(tmp_path / "store")
    path = entry / cache.shards[0]
    header, payload = _header_of(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(header)) | st.text(max_size=5))
        array = header.get(name)
        kind = data.draw(
            st.sampled_from(["dtype", "shape", "offsets", "gone", "any", "swap", "value"])
        )
        if kind == "gone":
            header.pop(name, None)
        elif kind == "swap":
            other = data.draw(st.sampled_from(sorted(header) or [""]))
            header[name], header[other] = header.get(other), array
        elif kind == "value":
            if payload:
                place = data.draw(st.integers(0, len(payload) - 1))
                new = data.draw(st.binary(min_size=4, max_size=4))
                payload = payload[:place] + new + payload[place + 4 :]
        elif kind == "any" or not isinstance(array, dict) or name == "__metadata__":
            header[name] = data.draw(JSON)
        elif kind == "dtype":
            array["dtype"] = data.draw(DTYPES)
        elif kind == "shape":
            array["shape"] = data.draw(st.lists(SIZES, max_size=4) | st.permutations([2, 16, 6]))
        else:
            array["data_offsets"] = [data.draw(SIZES), data.draw(SIZES)]
    text = json.dumps(header)
    if data.draw(st.integers(0, 9)) == 0:
        text = '{"keys":' + "[" * DEEP + "]" * DEEP + "}"
    claimed = data.draw(st.sampled_from([len(text)] * 8 + [2**63, 2**64 - 1, 10**8, 0, 1]))
    content = claimed.to_bytes(HEADER_BYTES, "little") + text.encode() + payload
    path.unlink()
    if forged:
        path = entry / f"{hashlib.sha256(content).hexdigest()}.safetensors"
    path.write_bytes(content)
    examine(cache, entry, capsys, honest=not forged)


@FUZZ
@given(
    names=st.sets(
        st.sampled_from(
            [".notes", "thesis", "x.safetensors", "ENCODING.JSON", "checked.json.bak", "0" * 64]
        )
        | st.from_regex(r"\A\.?[a-z0-9]{1,70}(\.safetensors|\.json|\.lock)?\Z").filter(
            lambda name: name not in ("encoding.json", "checked.json")
        ),
        min_size=1,
        max_size=3,
    ),
    damaged=st.booleans(),
)
def test_files_of_others_in_an_entry(cache, tmp_path: Path, capsys, names, damaged) -> None:
    entry = cache.copy(tmp_path / "store")
    for name in names:
        (entry / name).write_bytes(b"three years")
    if damaged:
        (entry / "encoding.json").write_bytes(b"{")
        (entry / cache.shards[0]).write_bytes(b"")
    examine(cache, entry, capsys, own=False)
    for name in names:
        assert (entry / name).read_bytes() == b"three years"


def test_the_whole_cache_has_two_shards(cache: Cache) -> None:
    assert len(cache.shards) == 2
