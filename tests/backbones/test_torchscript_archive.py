"""Tensors out of TorchScript archives, against torch.jit.load; hostile archives are refused."""

from __future__ import annotations

import pickle
import pickletools
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.backbones.test_openai_clip import TEXT, VISION
from vtclip import checkpoints
from vtclip.backbones import build_backbone
from vtclip.backbones.checkpoint_files import read_clip_state_dict
from vtclip.backbones.clip_package import CLIP
from vtclip.backbones.torchscript_archive import read_torchscript
from vtclip.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.plain = nn.Sequential(nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4))
        self.extra = nn.ParameterList([nn.Parameter(torch.randn(2)), nn.Parameter(torch.randn(3))])

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(self.linear(x))


class Whole(nn.Module):
    """Nested and shared modules, shared storages, types, views, and attributes of many kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Part(), Part()
        self.again = self.first
        base = torch.randn(6, 4)
        self.register_buffer("transposed", base.t())
        self.register_buffer("part", base[1:4, ::2])
        self.register_buffer("half_precise", torch.randn(3, 2).half())
        self.register_buffer("brain_float", torch.randn(3).bfloat16())
        self.register_buffer("double_precise", torch.randn(3).double())
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("small_numbers", torch.arange(5, dtype=torch.uint8))
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("unsaved", torch.ones(2), persistent=False)
        # OpenAI's archives hold such numbers
        self.register_buffer("input_resolution", torch.tensor(224))
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.attribute = torch.randn(3, 3)
        self.numbers, self.fractions, self.words = [1, 2, 300, -70000], [0.5], ["a", "b"]
        self.table = {"a": 1, "b": 2**40}
        self.pair = (1, "x")

    def forward(self, x: Tensor) -> Tensor:
        return self.second(x) + self.attribute.sum()


class Single(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("values", torch.arange(600.0).reshape(30, 20))

    def forward(self, x: Tensor) -> Tensor:
        return x


def save(module: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module.eval()), path)
    return path


def traced(model: CLIP) -> torch.jit.ScriptModule:
    """An archive as OpenAI made its files."""
    images = torch.randn(1, 3, *[model.visual.input_resolution] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(model, (images, torch.ones(1, 77, dtype=torch.int64)))


def rewrite(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Change the entries of a zip file; None removes one."""
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            changed = change(name, content)
            if changed is not None:
                file.writestr(name, changed)
    return path


def assert_as_jit(path: Path) -> None:
    expected = torch.jit.load(path, map_location="cpu").state_dict()
    found = read_torchscript(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].stride() == tensor.stride(), name
        assert found[name].equal(tensor), name


def test_all_kinds_of_tensors_are_those_of_torch_jit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = save(Whole(), tmp_path / "whole.pt")
    assert_as_jit(path)
    found = read_torchscript(path)
    assert "attribute" not in found
    # views of one storage share their memory
    found["transposed"].zero_()
    assert not found["part"].any()


@pytest.mark.parametrize("kind", ["resnet", "vit"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_traced_clip_is_that_of_torch_jit(tmp_path: Path, kind: str, precision: str) -> None:
    torch.manual_seed(0)
    model = CLIP(embed_dim=32, **VISION[kind], **TEXT).eval()
    path = tmp_path / "clip.pt"
    torch.jit.save(traced(model) if precision == "fp32" else traced(model).half(), path)
    assert_as_jit(path)
    state_dict = read_clip_state_dict(path)
    assert state_dict.keys() == model.state_dict().keys()
    torch.save(state_dict, tmp_path / "plain.pt")
    plain, archive = build_backbone(str(tmp_path / "plain.pt")), build_backbone(str(path))
    assert plain.fingerprint == archive.fingerprint


def test_the_other_byte_order_is_swapped(tmp_path: Path) -> None:
    path = save(Single(), tmp_path / "single.pt")
    expected = read_torchscript(path)["values"]

    def swap(name: str, content: bytes) -> bytes:
        if name.endswith("/byteorder"):
            return b"big" if sys.byteorder == "little" else b"little"
        return np.frombuffer(content, "f4").byteswap().tobytes() if "/data/" in name else content

    assert read_torchscript(rewrite(path, swap))["values"].equal(expected)
    rewrite(path, lambda name, old: b"middle" if name.endswith("/byteorder") else old)
    with pytest.raises(UserError, match="the byte order b'middle'"):
        read_torchscript(path)


HOSTILE = """
import torch
from torch import Tensor, nn
from typing import Dict

class Hostile(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.ones(2)

    @torch.jit.export
    def __getstate__(self) -> Dict[str, Tensor]:
        return {"weight": self.weight}

    @torch.jit.export
    def __setstate__(self, state: Dict[str, Tensor]) -> None:
        self.weight = torch.from_file(TARGET, True, 4, dtype=torch.float)
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight
"""


def test_code_that_restores_objects_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, path = tmp_path / "victim.bin", tmp_path / "hostile.pt"
    (tmp_path / "hostile_module.py").write_text(HOSTILE.replace("TARGET", repr(str(victim))))
    monkeypatch.syspath_prepend(tmp_path)
    from hostile_module import Hostile

    torch.jit.save(torch.jit.script(Hostile()), path)
    torch.jit.load(path)
    assert victim.exists(), "the archive does not do what this test is about"
    victim.unlink()
    with pytest.raises(UserError, match=r"hostile\.pt: .*__setstate__.*not run"):
        build_backbone(str(path))
    assert not victim.exists()
    # as a checkpoint either: before PyTorch 2.6, torch.load gives it to torch.jit.load
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    with pytest.raises(UserError, match=r"hostile\.pt: not a checkpoint"):
        checkpoints.load(path)
    # nor where the code does not say so and the pickle alone holds another state
    rewrite(path, lambda name, content: content.replace(b"__setstate__", b"__getstate__"))
    with pytest.raises(UserError):
        build_backbone(str(path))
    assert not victim.exists()


class Command:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("form", ["torchscript", "zip", "legacy"])
def test_a_command_in_a_pickle_is_not_run(tmp_path: Path, form: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / "hostile.pt"
    command = {"text_projection": Command(victim)}
    if form == "torchscript":
        content = pickle.dumps(command, protocol=2)
        save(Part(), path)
        rewrite(path, lambda name, old: content if name.endswith("/data.pkl") else old)
    else:
        torch.save(command, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UserError, match=r"hostile\.pt: "):
        build_backbone(str(path))
    assert not victim.exists()


def forge(path: Path, old: bytes, new: bytes) -> Path:
    """Replace a piece of the pickle of an archive, wherever it stands."""

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("/data.pkl"):
            return content
        assert old in content
        return content.replace(old, new)

    return rewrite(path, change)


ELEMENTS = b"M" + (600).to_bytes(2, "little")
HUGE = pickle.dumps(2**41, protocol=2)[2:-1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (ELEMENTS, HUGE, "has 2,400 bytes"),
        (b"K\x1eK\x14", HUGE + b"K\x14", "does not fit its storage"),
        (b"K\x14K\x01", b"K\x15K\x01", "does not fit its storage"),
        (b"K\x14K\x01", b"J\xff\xff\xff\xffK\x01", "no number of elements"),
        (b"FloatStorage", b"DoubleStorage", "has 2,400 bytes"),
        (b"FloatStorage", b"WildStorage", "the name 'torch WildStorage'"),
        (b"_rebuild_tensor_v2", b"_rebuild_qtensor", "the name 'torch._utils _rebuild_qtensor'"),
        (b"__torch__", b"__other__", "the name '__other__"),
        (ELEMENTS, b"]", "no storage"),
    ],
)
def test_forged_sizes_are_refused_before_memory_is_taken(
    tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    path = forge(save(Single(), tmp_path / "forged.pt"), old, new)
    with pytest.raises(UserError, match=rf"forged\.pt: .*{message}"):
        read_torchscript(path)


def test_an_endless_tree_of_modules_is_refused(tmp_path: Path) -> None:
    path = save(Single(), tmp_path / "loop.pt")
    with zipfile.ZipFile(path) as file:
        (name,) = (n for n in file.namelist() if n.endswith("/data.pkl"))
        names = [arg for op, arg, _ in pickletools.genops(file.read(name)) if op.name == "GLOBAL"]
    # an object, kept as number 1, whose attributes a and b are itself
    made = b"c" + names[0].replace(" ", "\n").encode() + b"\n)\x81q\x01"
    state = b"}(X\x01\x00\x00\x00ah\x01X\x01\x00\x00\x00bh\x01u"
    loop = b"\x80\x02" + made + state + b"b."
    rewrite(path, lambda entry, old: loop if entry == name else old)
    with pytest.raises(UserError, match="without end"):
        read_torchscript(path)


def test_a_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtclip.torch_files.ALWAYS_ALLOWED", 1 << 20)
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/constants.pkl", pickle.dumps((), 2))
        file.writestr("archive/data/0", bytes(4 << 20))
    with pytest.raises(UserError, match=r"would unpack to 4,"):
        build_backbone(str(path))


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    path = save(Single(), tmp_path / "double.pt")
    with zipfile.ZipFile(path, "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr(file.namelist()[0], b"")
    with pytest.raises(UserError, match="two entries of one name"):
        read_torchscript(path)


def test_what_is_no_module_is_refused(tmp_path: Path) -> None:
    path = save(Single(), tmp_path / "none.pt")
    rewrite(path, lambda name, old: pickle.dumps([1], 2) if name.endswith("/data.pkl") else old)
    with pytest.raises(UserError, match="holds no module"):
        read_torchscript(path)


def test_a_deep_pickle_ends(tmp_path: Path) -> None:
    path = save(Single(), tmp_path / "deep.pt")
    deep = b"\x80\x02)" + b"\x85" * 1_000_000 + b"."
    rewrite(path, lambda name, old: deep if name.endswith("/data.pkl") else old)
    with pytest.raises(UserError, match="holds no module"):
        read_torchscript(path)
