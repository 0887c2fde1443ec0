from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vtclip.errors import UserError
from vtclip.features import Encoding, encode_batch, resolve_precision
from vtclip.features import encoding as encoding_module

from .stub import SIZE, StubBackbone, plain_transform


def test_batch_features_are_those_of_the_backbone(encoding: Encoding) -> None:
    images = torch.randn(3, 3, SIZE, SIZE)
    expected = encoding.backbone.encode_image(images)
    features = encode_batch(images, encoding)
    torch.testing.assert_close(features.global_features, expected.global_features)
    torch.testing.assert_close(features.spatial_features, expected.spatial_features)


def test_a_trained_head_may_keep_features_for_its_backward_pass(encoding: Encoding) -> None:
    features = encode_batch(torch.randn(2, 3, SIZE, SIZE), encoding)
    weight = torch.ones(6, requires_grad=True)
    (features.global_features * weight).sum().backward()
    assert weight.grad is not None
    assert not features.global_features.requires_grad


@pytest.mark.parametrize("tokens", ["joint", "backbone", None])
def test_tokens(backbone: StubBackbone, tokens: str | None) -> None:
    chosen = Encoding(backbone, plain_transform, "plain", tokens)  # type: ignore[arg-type]
    features = encode_batch(torch.randn(2, 3, SIZE, SIZE), chosen)
    shape = None if features.spatial_features is None else tuple(features.spatial_features.shape)
    assert shape == {"joint": (2, 16, 6), "backbone": (2, 16, 5), None: None}[tokens]


def test_bf16_is_rounded_to_what_is_kept(encoding: Encoding) -> None:
    features = encode_batch(
        torch.randn(2, 3, SIZE, SIZE), replace(encoding, precision="bf16")
    ).global_features
    assert features.dtype == torch.float32
    assert torch.equal(features, features.bfloat16().float())


def test_fp32_is_fp32_inside_the_autocast_of_a_caller(encoding: Encoding) -> None:
    images = torch.randn(2, 3, SIZE, SIZE)
    expected = encode_batch(images, encoding).global_features
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encode_batch(images, encoding).global_features, expected)


def test_convolutional_backbones_run_channels_last(encoding: Encoding) -> None:
    seen = []
    encoding.backbone.first.register_forward_pre_hook(  # type: ignore[union-attr]
        lambda _, inputs: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    features = encode_batch(torch.randn(2, 3, SIZE, SIZE), encoding)
    assert seen == [True]
    assert features.spatial_features is not None
    assert features.spatial_features.is_contiguous()


def test_runs_on_the_meta_device(backbone: StubBackbone) -> None:
    meta = Encoding(backbone.to("meta"), plain_transform, "plain")
    features = encode_batch(torch.randn(2, 3, SIZE, SIZE), meta)
    assert features.global_features.device.type == "meta"
    assert features.global_features.shape == (2, 6)


def test_fp16_never_runs_on_a_cpu(encoding: Encoding) -> None:
    with pytest.raises(UserError, match="fp16 is for CUDA"):
        replace(encoding, precision="fp16")


def test_unknown_precision_and_negative_view(encoding: Encoding) -> None:
    with pytest.raises(UserError, match="did you mean bf16"):
        replace(encoding, precision="bf61")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="view is -1"):
        replace(encoding, view=-1)


def test_resolve_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_precision("bf16", "cuda") == "bf16"
    assert resolve_precision("auto", "cuda") == "fp16"
    assert resolve_precision("auto", torch.device("meta")) == "fp32"
    for has_bf16, expected in [(True, "bf16"), (False, "fp32")]:
        monkeypatch.setattr(encoding_module, "bf16_is_fast", lambda _, has=has_bf16: has)
        assert resolve_precision("auto", "cpu") == expected
    with pytest.raises(UserError, match=r"FEATURES\.PRECISION.*'half'"):
        resolve_precision("half", "cpu")
