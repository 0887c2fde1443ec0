"""The images of a dataset, encoded in parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vtclip.commands import train
from vtclip.sweep.encoding import encode, part_of

from ..conftest import ROOT

WORDS = (
    *("--trainer", "VTCLIP", "--backbone", "tiny", "--shots", "2", "--seed", "1"),
    *("--dataset-config-file", str(ROOT / "configs" / "datasets" / "digits.yaml")),
)


@pytest.mark.parametrize("images", [0, 1, 64, 65, 1000])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_parts_are_whole_batches_and_together_the_list(images: int, count: int) -> None:
    parts = [part_of(images, 64, index, count) for index in range(count)]
    assert [row for part in parts for row in part] == list(range(images))
    assert all(part.start % 64 == 0 for part in parts if part)
    assert max(map(len, parts)) - min(map(len, parts)) <= 2 * 64


def cached(root: Path) -> dict[bytes, tuple[torch.Tensor, torch.Tensor]]:
    """Return what a cache holds, by image."""
    from safetensors.torch import load_file

    found = {}
    for path in root.glob("*/*.safetensors"):
        shard = load_file(path)
        for row, key in enumerate(shard["keys"]):
            found[bytes(key.tolist())] = shard["global"][row], shard["spatial"][row]
    return found


def test_parts_make_the_features_of_the_whole_to_the_last_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA", raising=False)
    run = train.parse_args(list(WORDS))
    measures = {}
    for name, count in (("whole", 1), ("parts", 2)):
        monkeypatch.setenv("VTCLIP_CACHE", str(tmp_path / name))
        measures[name] = [encode(train.plan_of, [run], (part, count)) for part in range(count)]
    whole, parts = (cached(tmp_path / name) for name in ("whole", "parts"))
    assert len(whole) > 700
    assert whole.keys() == parts.keys()
    for key, (image, spatial) in whole.items():
        assert image.equal(parts[key][0])
        assert spatial.equal(parts[key][1])
    (one,) = measures["whole"]
    assert one["encoded"] == one["images"] == sum(part["encoded"] for part in measures["parts"])
    assert all(part["encode_seconds"] > 0 and part["encoded"] for part in measures["parts"])
    # on a full cache nothing is encoded, nor measured
    again = encode(train.plan_of, [run], (0, 2))
    assert (again["encoded"], again["encode_seconds"]) == (0, 0)
