"""Damaged and forged models and predictions of finished runs: read as they are, or one line."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

import train
from tests.conftest import ROOT, Lent
from tests.fuzz.common import EDITS, FUZZ, edited, fuzz, settles, within
from tests.trainers.bank import write_bank
from vtclip.features import Features
from vtclip.files import sha256_of_file
from vtclip.plugins import import_modules
from vtclip.predictions import PREDICTIONS_FILE, read_predictions
from vtclip.predictor import restore_trainer
from vtclip.saved_model import EXPECTED, MODEL_FILE, TENSORS_FILE, TEXT_FEATURES

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import example, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
METHODS = ("VTCLIP", "CLIPAdapter", "TaskRes", "TipAdapter", "LinearProbe")
SECONDS = 20
NAMES = st.sampled_from(METHODS)


class Saved:
    """The folder of a finished run, and what its files hold."""

    def __init__(self, method: str, bank: Path, folder: Path) -> None:
        file = ROOT / "configs" / "datasets" / "feature_bank.yaml"
        arguments = [
            *("--trainer", method, "--dataset-config-file", str(file), "--output-dir", str(folder)),
            *("DATASET.FEATURE_BANK", str(bank), "DATASET.NUM_SHOTS", "2"),
            *("OPTIM.MAX_EPOCH", "1", "DATALOADER.TRAIN_X.BATCH_SIZE", "4"),
        ]
        assert train.main(arguments) == 0
        self.folder = folder
        self.files = {
            name: (folder / name).read_bytes()
            for name in (MODEL_FILE, TENSORS_FILE, PREDICTIONS_FILE)
        }
        self.fields = json.loads(self.files[MODEL_FILE])
        # not mapped from the file, which is written over
        self.tensors = load(self.files[TENSORS_FILE])

    def restore(self) -> Any:
        """Return the restored run where what is in its folder is taken, None where it is not."""

        def scored() -> Any:
            restored = restore_trainer(self.folder)
            trainer = restored.trainer
            width = restored.model.embed_dim
            # in the bank, those of locations are as wide
            images = Features(torch.ones(2, width), torch.ones(2, 4, width))
            logits = trainer.logits(images)
            assert logits.shape == (2, len(restored.model.classnames))
            return restored

        with within(SECONDS), torch.no_grad():
            return settles(scored)

    def with_fields(self, **changes: Any) -> Any:
        """Return the run with other fields of model.json; `...` takes one away."""
        fields = {k: v for k, v in {**self.fields, **changes}.items() if v is not ...}
        (self.folder / TENSORS_FILE).write_bytes(self.files[TENSORS_FILE])
        (self.folder / MODEL_FILE).write_text(json.dumps(fields))
        return self.restore()

    def with_tensors(self, content: bytes) -> Any:
        """Return the run with another file of tensors, of which model.json has the digest."""
        path = self.folder / TENSORS_FILE
        path.write_bytes(content)
        fields = self.fields | {"tensors_sha256": sha256_of_file(path)}
        (self.folder / MODEL_FILE).write_text(json.dumps(fields))
        return self.restore()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Saved]]:
    import_modules(["trainers", "datasets"])
    folder = tmp_path_factory.mktemp("runs")
    bank = write_bank(folder / "bank.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "stdout", Lent(sys.stdout))
        yield {name: Saved(name, bank, folder / name) for name in METHODS}


def test_whole_models_are_restored(runs: dict[str, Saved]) -> None:
    for run in runs.values():
        found = run.with_fields().model
        assert {name: value.tolist() for name, value in found.tensors.items()} == {
            name: value.tolist() for name, value in run.tensors.items()
        }
        assert run.with_tensors(save(run.tensors)) is not None


@FUZZ
@given(name=NAMES, edits=EDITS)
@example(name="VTCLIP", edits=[(0.0, b"[" * 100_000, 0)])
def test_descriptions_with_damaged_bytes(runs: dict[str, Saved], name: str, edits: Any) -> None:
    run = runs[name]
    (run.folder / TENSORS_FILE).write_bytes(run.files[TENSORS_FILE])
    (run.folder / MODEL_FILE).write_bytes(edited(run.files[MODEL_FILE], edits))
    run.restore()


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.sampled_from([-1, 0, 2**62, 10**400, "VTCLIP", "../x", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@FUZZ
@given(name=NAMES, field=st.sampled_from(["format", *EXPECTED]), value=ANYTHING | st.just(...))
@example(name="VTCLIP", field="backbone_dim", value=2**62)
@example(name="CLIPAdapter", field="embed_dim", value=2**40)
@example(name="TipAdapter", field="selected_params", value={})
@example(name="TipAdapter", field="scale", value=1e300)
@example(name="VTCLIP", field="templates", value=[])
@example(name="VTCLIP", field="classnames", value=["a"] * 6)
def test_descriptions_with_other_values(
    runs: dict[str, Saved], name: str, field: str, value: Any
) -> None:
    runs[name].with_fields(**{field: value})


@FUZZ
@given(name=NAMES, key=st.integers(0, 30), value=ANYTHING)
@example(name="VTCLIP", key=0, value=2**62)
def test_descriptions_with_other_configurations(
    runs: dict[str, Saved], name: str, key: int, value: Any
) -> None:
    config = dict(runs[name].fields["config"])
    config[sorted(config)[key % len(config)]] = value
    runs[name].with_fields(config=config)


@FUZZ
@given(name=NAMES, edits=EDITS)
def test_tensors_with_damaged_bytes(runs: dict[str, Saved], name: str, edits: Any) -> None:
    runs[name].with_tensors(edited(runs[name].files[TENSORS_FILE], edits))


def others(tensor: Tensor) -> list[Tensor]:
    kinds = (torch.float16, torch.float64, torch.int64, torch.bool, torch.float8_e4m3fn)
    cast = [tensor.to(kind) for kind in kinds]
    shapes = [tensor.unsqueeze(0), tensor.reshape(-1), torch.cat([tensor, tensor]), tensor[:0]]
    return [*cast, *(shape.clone() for shape in shapes if tensor.ndim)]


@pytest.mark.parametrize("name", METHODS)
def test_each_tensor_in_another_form(runs: dict[str, Saved], name: str) -> None:
    run = runs[name]
    for key, tensor in run.tensors.items():
        for other in others(tensor):
            if (other.shape, other.dtype) != (tensor.shape, tensor.dtype):
                assert run.with_tensors(save({**run.tensors, key: other})) is None, (key, other)
        assert run.with_tensors(save({k: t for k, t in run.tensors.items() if k != key})) is None
        for value in (np.nan, np.inf) if tensor.is_floating_point() else ():
            broken = tensor.clone()
            broken.view(-1)[-1] = value
            assert run.with_tensors(save({**run.tensors, key: broken})) is None, key
    assert TEXT_FEATURES in run.tensors


def reread(run: Saved, content: bytes) -> None:
    folder = run.folder / "copy"
    folder.mkdir(exist_ok=True)
    (folder / PREDICTIONS_FILE).write_bytes(content)
    for line in settles(lambda: read_predictions(folder)) or ():
        assert 0 <= line.label_probability <= 1
        assert 0 <= line.predicted_probability <= 1
    shutil.rmtree(folder)


@FUZZ
@given(edits=EDITS)
@example(edits=[(1.0, b'"', 0)])
@example(edits=[(0.5, b"x" * 200_000, 0)])
def test_predictions_with_damaged_bytes(runs: dict[str, Saved], edits: Any) -> None:
    reread(runs["TaskRes"], edited(runs["TaskRes"].files[PREDICTIONS_FILE], edits))


@fuzz(0.2)
@given(
    figure=st.floats().map(str) | st.sampled_from(["912", "-1", "nan", "inf", "1e999", "", "1_0"])
)
def test_probabilities_that_cannot_be(runs: dict[str, Saved], figure: str) -> None:
    header, first, *rest = runs["TaskRes"].files[PREDICTIONS_FILE].decode().splitlines()
    cells = first.split(",")
    cells[3] = figure
    reread(runs["TaskRes"], "\n".join([header, ",".join(cells), *rest]).encode())
