"""The record of features: its rows, parts, types and examples."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest
import torch

from vtclip import image_features
from vtclip.image_features import Features


def numbered(spatial: bool = True, images: int = 5) -> Features:
    """Image i has the features i."""
    values = torch.arange(float(images))
    return Features(
        values[:, None].expand(images, 2),
        values[:, None, None].expand(images, 3, 4) if spatial else None,
    )


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [(torch.tensor([4, 0, 4]), [4, 0, 4]), (slice(1, 3), [1, 2]), ([3, 1], [3, 1])],
)
def test_rows_of_both_parts(rows, expected, spatial) -> None:
    features = numbered(spatial)[rows]
    assert len(features) == len(expected)
    assert features.global_features.tolist() == [[i, i] for i in expected]
    if spatial:
        assert features.spatial_features[:, 2, 3].tolist() == expected
    else:
        assert features.spatial_features is None


@pytest.mark.parametrize("spatial", [True, False])
def test_cat_undoes_a_split(spatial) -> None:
    whole = numbered(spatial)
    joined = Features.cat([whole[:2], whole[2:]])
    assert joined.global_features.equal(whole.global_features)
    if spatial:
        assert joined.spatial_features.equal(whole.spatial_features)
    else:
        assert joined.spatial_features is None


def test_another_type_on_another_device() -> None:
    moved = numbered().to("meta", torch.bfloat16)
    for tensor in (moved.global_features, moved.spatial_features):
        assert (tensor.device.type, tensor.dtype) == ("meta", torch.bfloat16)
    assert numbered().to(dtype=torch.float64).global_features.device.type == "cpu"


def test_nothing_is_copied_where_nothing_changes() -> None:
    features = numbered()
    assert features.to("cpu", torch.float32).global_features is features.global_features


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["global", "spatial"])
def test_the_first_image_with_a_fault(dtype: torch.dtype, kind: str) -> None:
    features = numbered().to(dtype=dtype)
    assert features.fault() is None
    values = features.global_features if kind == "global" else features.spatial_features
    assert values is not None
    wrong = [float("nan"), float("inf"), -float("inf")]
    for value in wrong if dtype == torch.float16 else [*wrong, 1.1e18, -1e20]:
        broken = values.clone()
        broken[1:].view(len(values) - 1, -1)[:, -1] = value
        other = replace(features, **{f"{kind}_features": broken})
        what, image = other.fault() or ("", -1)
        assert image == 1
        finite = value in (1.1e18, -1e20)
        assert what.startswith(f"{kind} features are {'beyond 1e+18' if finite else 'not finite'}")


def test_examples() -> None:
    assert doctest.testmod(image_features) == doctest.TestResults(failed=0, attempted=12)
