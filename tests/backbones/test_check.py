"""`python -m vtclip.backbones`: what it measures, and what it finds wrong."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vtclip.backbones import Backbone, Features, registry
from vtclip.backbones.__main__ import main
from vtclip.backbones.check import declared_faults, image_faults, measure, text_faults
from vtclip.errors import UserError
from vtclip.features import Encoding

from ..conftest import ROOT

ANGLE = math.pi / 3


class Sound(Backbone):
    """Four locations of 8 x 8 pixels; their mean is at a known angle to the global features."""

    embed_dim, backbone_dim, image_size = 2, 3, 8

    def __init__(self, name: str = "sound") -> None:
        super().__init__()
        self.name, self.fingerprint = name, "1"
        self.weight = nn.Parameter(torch.tensor(20.0), requires_grad=False)

    @property
    def logit_scale(self) -> Tensor:
        return self.weight

    def encode_image(self, images: Tensor, tokens: Any = "joint") -> Features:
        corner = images.mean((1, 2, 3))
        g = torch.stack([corner.cos(), corner.sin()], 1)
        turned = torch.stack([(corner + ANGLE).cos(), (corner + ANGLE).sin()], 1)
        if tokens is None:
            return Features(g)
        spatial = turned if tokens == "joint" else torch.cat([turned, g[:, :1]], 1)
        return Features(g, spatial.unsqueeze(1).expand(-1, 4, -1))

    def encode_text(self, prompts: Any) -> Tensor:
        angles = torch.tensor([float(prompt.split()[0]) for prompt in prompts])
        return 7 * torch.stack([angles.cos(), angles.sin()], 1)


IMAGES = torch.linspace(0, 1, 6)[:, None, None, None].expand(-1, 3, 8, 8)
PROMPTS = ["0 rad", "1 rad"]


def faults(backbone: Backbone) -> list[str]:
    return [
        *declared_faults(backbone),
        *image_faults(backbone, IMAGES[:3]),
        *text_faults(backbone, PROMPTS),
    ]


def test_nothing_is_wrong_with_a_sound_one() -> None:
    assert faults(Sound()) == []


def test_what_is_measured() -> None:
    # an image at angle x is nearest to the text at 0 below 0.5
    labels = torch.tensor([0, 0, 0, 1, 1, 0])
    encoding = Encoding(Sound(), lambda image: image, "none")
    measured = measure(encoding, IMAGES, labels, PROMPTS)
    assert measured.accuracy == pytest.approx(100 * 5 / 6)
    assert measured.n_locations == 4
    assert measured.joint_cosine == pytest.approx(math.cos(ANGLE), abs=1e-6)
    # half of the list further on, at 0.6 more or less
    foreign = (math.cos(ANGLE - 0.6) + math.cos(ANGLE + 0.6)) / 2
    assert measured.foreign_cosine == pytest.approx(foreign, abs=1e-5)
    assert measured.texts_differ
    assert not measure(encoding, IMAGES, labels, ["1 rad", "1 rad"]).texts_differ
    assert measured.images_per_second > 0


class Dropping(Sound):
    def encode_image(self, images: Tensor, tokens: Any = "joint") -> Features:
        found = super().encode_image(images, tokens)
        # another answer at every call
        self.weight += 1
        return Features(found.global_features.roll(int(self.weight), 1), found.spatial_features)


class Mixing(Sound):
    def encode_image(self, images: Tensor, tokens: Any = "joint") -> Features:
        return super().encode_image(images - images.mean(0, keepdim=True) + 1, tokens)


class Constant(Sound):
    def encode_image(self, images: Tensor, tokens: Any = "joint") -> Features:
        return super().encode_image(torch.ones_like(images), tokens)


class NotANumber(Sound):
    def encode_image(self, images: Tensor, tokens: Any = "joint") -> Features:
        found = super().encode_image(images, tokens)
        return Features(found.global_features * math.nan, found.spatial_features)


class Transposed(Sound):
    def encode_image(self, images: Tensor, tokens: Any = "joint") -> Features:
        found = super().encode_image(images, tokens)
        spatial = None if found.spatial_features is None else found.spatial_features.mT
        return Features(found.global_features, spatial)


class Uneven(Sound):
    def encode_image(self, images: Tensor, tokens: Any = "joint") -> Features:
        found = super().encode_image(images, tokens)
        spatial = found.spatial_features
        return Features(found.global_features, spatial[:, 1:] if tokens == "joint" else spatial)


class Padded(Sound):
    def encode_text(self, prompts: Any) -> Tensor:
        return super().encode_text(prompts) + max(map(len, prompts)) ** 2


class Wide(Sound):
    def encode_text(self, prompts: Any) -> Tensor:
        return super().encode_text(prompts).repeat(1, 2)


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (Dropping, "global features beside joint spatial ones are others"),
        (Mixing, "depend on what else is in its batch"),
        (Constant, "two images that differ have the same global features"),
        (NotANumber, "global features are not finite"),
        (Transposed, r"spatial features \(3, 2, 4\), expected \(3, S, 2\) of embed_dim"),
        (Uneven, r"are of \[3, 4\] locations"),
        (Padded, "depend on the length of the one beside it"),
        (Wide, r"encode_text gives \(2, 4\), expected \(2, 2\) of embed_dim"),
    ],
)
def test_what_is_wrong_in_features_is_found(broken: type[Sound], fault: str) -> None:
    assert re.search(fault, faults(broken())[0])


class OfFewWords(Sound):
    """Its text encoder has room for one word more than the prompts have."""

    def encode_text(self, prompts: Any) -> Tensor:
        assert max(len(prompt.split()) for prompt in prompts) <= 3
        return super().encode_text(prompts)


def test_a_short_text_encoder_is_sound() -> None:
    assert faults(OfFewWords()) == []


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_folder_of_transformers_by_the_command(kind: str, tmp_path: Path, capsys) -> None:
    """The tokenizer of these models has room for 40 letters."""
    pytest.importorskip("transformers")
    from .small_models import write_transformers

    write_transformers(kind, tmp_path / kind)
    assert main(["check", f"hf:{tmp_path / kind}", "--images", "10"]) == 0
    rows = dict(
        line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line
    )
    joint = {"clip": "joint 24, before it 48", "siglip": "joint 48, before it 48"}
    assert joint[kind] in rows["widths"]


@pytest.mark.parametrize(
    ("attribute", "value", "fault"),
    [
        ("mean", (123.7, 116.3, 103.5), "mean .* from 0 to 1"),
        ("std", (0.5, 0.5, 0.0), "std .* above 0"),
        ("std", (58.4, 57.1, 57.4), "std .* up to 1"),
        ("interpolation", "lanczos", "'lanczos' is none of bicubic"),
        ("fingerprint", "", "fingerprint is empty"),
        ("embed_dim", 3, r"global features \(3, 2\), expected \(3, 3\) of embed_dim"),
        ("backbone_dim", 2, r"expected \(3, S, 2\) of backbone_dim"),
        ("weight", torch.tensor(-1.0), "logit_scale -1.0 is no number above 0"),
        ("weight", torch.tensor(0.01), "logit_scale 0.01 is below 1"),
        ("weight", torch.tensor(1.0, requires_grad=True), "require gradients"),
    ],
)
def test_what_is_wrong_in_attributes_is_found(attribute: str, value: Any, fault: str) -> None:
    backbone = Sound()
    if isinstance(value, Tensor):
        value = nn.Parameter(value.detach(), requires_grad=value.requires_grad)
    setattr(backbone, attribute, value)
    assert re.search(fault, faults(backbone)[0])


def test_values_beyond_a_precision_are_told_of() -> None:
    class Huge(Sound):
        def encode_image(self, images: Tensor, tokens: Any = "joint") -> Features:
            found = super().encode_image(images, tokens)
            return Features(found.global_features * 1e20, found.spatial_features)

    encoding = Encoding(Huge(), lambda image: image, "none")
    with pytest.raises(FloatingPointError, match="squares overflow in fp32"):
        measure(encoding, IMAGES, torch.zeros(6), PROMPTS)


@pytest.fixture
def forget_plugins() -> Iterator[None]:
    before = dict(registry.factories)
    yield
    registry.factories.clear()
    registry.factories.update(before)


def test_tiny_by_the_command(capsys) -> None:
    assert main(["check", "TINY", "--images", "40"]) == 0
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["backbone"] == "tiny"
    assert rows["widths"] == "joint 128, before it 256"
    assert rows["locations"] == "3 x 3"
    assert rows["arithmetic"] == "fp32 on cpu"
    # 69 % of the whole test split
    assert 40 <= float(rows["zero-shot on digits"].split()[0]) <= 90
    own, other = map(float, re.findall(r"0\.\d+", rows["cosine of joint mean and global"]))
    assert own > other + 0.1


@pytest.mark.usefixtures("forget_plugins")
def test_the_documented_example_and_a_broken_one(tmp_path: Path, monkeypatch, capsys) -> None:
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "backbones.md").read_text(), re.DOTALL
    )
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "good_colours.py").write_text(code)
    arguments = ["check", "colours", "--images", "20", "--plugin"]
    assert main([*arguments, str(tmp_path / "good_colours.py")]) == 0
    shown = capsys.readouterr()
    assert "all prompts have the same text features" in shown.out
    assert not shown.err
    broken = code.replace('"colours"', '"bad_colours"').replace(
        "self.embed_dim = self.backbone_dim = 3", "self.embed_dim = self.backbone_dim = 4"
    )
    (tmp_path / "bad_colours.py").write_text(broken)
    arguments[1] = "bad_colours"
    assert main([*arguments, str(tmp_path / "bad_colours.py")]) == 1
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.startswith("error: backbone bad_colours: encode_image(images, None) gives global")
    assert not shown.out


def test_names_are_listed(capsys) -> None:
    assert main(["ls"]) == 0
    assert {"RN50", "tiny", "open_clip:*", "hf:*"} <= set(capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "rn5"], "did you mean RN50"),
        (["check", "tiny", "--images", "1"], "--images: 1; give at least 2"),
        (["check", "tiny", "--activation", "relu"], "MODEL.BACKBONE.ACTIVATION"),
        (["check", "tiny", "--precision", "fp8"], "FEATURES.PRECISION"),
        (["ls", "timm"], "FAMILY: unknown name 'timm'"),
    ],
)
def test_bad_arguments_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(arguments)
