"""Damaged and forged files of weights: one line, or weights; no traceback, no endless run.

100 examples per test, always the same ones; VTCLIP_FUZZ=5000 runs that many.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.backbones.test_openai_clip import TEXT, VISION
from tests.backbones.test_torchscript_archive import Whole, save
from tests.fuzz.common import EDITS, FUZZ, edited
from vtclip import checkpoints
from vtclip.backbones.checkpoint_files import read_clip_state_dict
from vtclip.backbones.clip_layout import empty_clip
from vtclip.backbones.clip_package import CLIP
from vtclip.backbones.restricted_pickle import MalformedPickle, read_pickle
from vtclip.backbones.torchscript_archive import read_torchscript
from vtclip.errors import UserError

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def small_weights() -> dict[str, Tensor]:
    """What passes for a CLIP at first sight."""
    keys = ("text_projection", "logit_scale", "token_embedding.weight", "visual.conv1.weight")
    return {key: torch.randn(2, 3) for key in keys}


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    weights = small_weights()
    safetensors.torch.save_file(weights, folder / "safetensors")
    torch.save(weights, folder / "zip")
    torch.save({"state_dict": weights}, folder / "legacy", _use_new_zipfile_serialization=False)
    save(Whole(), folder / "torchscript")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_or_refuse(path: Path) -> None:
    """Read weights; a UserError of one line is as good."""
    for read in (read_clip_state_dict, checkpoints.load):
        try:
            read(path)
        except UserError as error:
            assert "\n" not in str(error)
            assert str(error).startswith(str(path))
            assert len(str(error)) < 1000


@pytest.mark.parametrize("kind", ["torchscript", "zip", "legacy", "safetensors"])
@FUZZ
@given(edits=EDITS)
def test_damaged_files(contents, tmp_path: Path, kind: str, edits) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(edited(contents[kind], edits))
    read_or_refuse(path)


@pytest.mark.parametrize("kind", ["torchscript", "zip"])
@FUZZ
@given(data=st.data())
def test_archives_with_damaged_entries(contents, tmp_path: Path, kind: str, data) -> None:
    """The zip file itself is whole, checksums and all."""
    with zipfile.ZipFile(io.BytesIO(contents[kind])) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    # the pickle is where most can go wrong
    name = data.draw(st.sampled_from(pickles * len(entries) + list(entries)))
    entries[name] = edited(entries[name], data.draw(EDITS))
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    read_or_refuse(path)
    if kind == "torchscript":
        try:
            read_torchscript(path)
        except UserError as error:
            assert str(error).startswith(str(path))


OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
GLOBALS = [b"c__torch__\nM\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"]
LITERALS = [pickle.dumps(v, 2)[2:-1] for v in ("storage", "0", 0, 1, 2**70, -1, None, (), [], {})]


@FUZZ
@given(st.lists(st.sampled_from(OPCODES + GLOBALS * 9 + LITERALS * 5) | st.binary(max_size=3)))
def test_pickles_of_random_instructions(pieces: list[bytes]) -> None:
    try:
        read_pickle(b"\x80\x02" + b"".join(pieces) + b".")
    except MalformedPickle as error:
        assert len(str(error)) < 1000


@pytest.fixture(scope="module")
def clips() -> list[dict[str, Tensor]]:
    return [CLIP(embed_dim=32, **VISION[kind], **TEXT).state_dict() for kind in VISION]


SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 32, 63, 64, 65, 200]), max_size=5)
TYPES = st.sampled_from([torch.float32, torch.float16, torch.int64, torch.bool, torch.complex64])


@FUZZ
@given(data=st.data())
def test_state_dicts_with_other_tensors(clips, data) -> None:
    state_dict: dict[str, Any] = dict(clips[data.draw(st.integers(0, 1))])
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(state_dict)) | st.text())
        shape = data.draw(SHAPES | st.none())
        if shape is None:
            state_dict.pop(key, None)
        else:
            # one element, however large the shape
            state_dict[key] = torch.ones((), dtype=data.draw(TYPES)).expand(shape)
    try:
        empty_clip(state_dict, "file.pt")
    except UserError as error:
        assert str(error).startswith("file.pt: ")


@FUZZ
@given(st.binary(max_size=200))
def test_files_of_anything(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.pt"
    for start in (b"", b"PK\x03\x04", len(content).to_bytes(8, "little") + b"{"):
        path.write_bytes(start + content)
        read_or_refuse(path)
