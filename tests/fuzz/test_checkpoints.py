"""Damaged and forged checkpoints: loaded as they are, or one line; no traceback, no false accuracy.

100 examples per test, always the same ones; VTCLIP_FUZZ=5000 runs that many.
"""

from __future__ import annotations

import copy
import io
import math
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import train
from tests.conftest import ROOT, Lent
from tests.fuzz.common import EDITS, FUZZ, edited, fuzz, settles, within
from tests.trainers.bank import write_bank
from vtclip import checkpoints
from vtclip.checkpointing import FITTED
from vtclip.plugins import import_modules

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import example, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
HEADS = ("VTCLIP", "VTCLIPPlus", "CLIPAdapter", "TipAdapterF", "RLA", "P0", "TaskRes", "ZSLP")
FITS = ("LinearProbe", "TipAdapter", "ProKeR", "SSText", "GDA", "LPPlusPlus")
EPOCHS = 4
SECONDS = 30


class Run:
    """A finished run, what is to be damaged in it, and a trainer that evaluates it."""

    def __init__(self, name: str, bank: Path, folder: Path) -> None:
        file = ROOT / "configs" / "datasets" / "feature_bank.yaml"
        self.arguments = [
            *("--trainer", name, "--dataset-config-file", str(file)),
            *("DATASET.FEATURE_BANK", str(bank), "DATASET.NUM_SHOTS", "2"),
            *("OPTIM.MAX_EPOCH", str(EPOCHS), "DATALOADER.TRAIN_X.BATCH_SIZE", "4"),
        ]
        self.folder = folder
        trainer = self.trainer(folder)
        trainer.train()
        self.accuracy = trainer.test("test")
        self.evaluator = self.trainer(folder / "evaluation")
        part = folder / ("head" if trainer.head is not None else FITTED)
        self.path = part / (part / checkpoints.LATEST).read_text().strip()
        self.content = checkpoints.load(self.path)

    def trainer(self, folder: Path) -> Any:
        from dassl.engine import build_trainer

        named = ["--output-dir", str(folder), *self.arguments]
        cfg, _ = train.plan_of(train.parse_args(named)).run(1, several=False)
        return build_trainer(cfg)

    def evaluate(self) -> float | None:
        """Return the accuracy of what is in the folder, None where it is refused."""

        def evaluated() -> float:
            self.evaluator.load_model(self.folder)
            return self.evaluator.test("test")

        with within(SECONDS):
            accuracy = settles(evaluated)
        if accuracy is not None:
            assert 0 <= accuracy <= 100
            model = self.evaluator.head
            loaded = self.evaluator.fitted if model is None else model.state_dict()
            held = checkpoints.load(self.path)["state_dict"]
            # what was tested is what the file holds
            assert loaded.keys() == held.keys()
            assert all(torch.equal(loaded[key], held[key]) for key in held)
            assert all(loaded[key].dtype == held[key].dtype for key in held)
            assert all(value.isfinite().all() for value in loaded.values())
        return accuracy


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    import_modules(["trainers", "datasets"])
    folder = tmp_path_factory.mktemp("runs")
    bank = write_bank(folder / "bank.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "stdout", Lent(sys.stdout))
        yield {name: Run(name, bank, folder / name) for name in (*HEADS, *FITS)}


def test_whole_checkpoints_give_the_accuracy_of_their_runs(runs: dict[str, Run]) -> None:
    for run in runs.values():
        checkpoints.save(run.content, run.path)
        assert run.evaluate() == run.accuracy


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 10**9, 10**400, math.nan, math.inf, "4", "\ud800", "\n", b"x"])
    | st.floats()
    | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
TYPES = [torch.float32, torch.float16, torch.float64, torch.int64, torch.bool, torch.complex64]


def other_tensors(tensor: Tensor) -> list[Callable[[], Any]]:
    """Return tensors, and other things, that may stand in the place of `tensor`."""
    return [
        *(lambda dtype=dtype: tensor.to(dtype) for dtype in TYPES),
        lambda: tensor[..., :-1].clone() if tensor.ndim else torch.empty(0),
        lambda: torch.cat([tensor, tensor]) if tensor.ndim else tensor.repeat(2),
        lambda: tensor.reshape(-1),
        lambda: tensor.unsqueeze(0),
        lambda: torch.empty(0),
        lambda: torch.zeros_like(tensor),
        lambda: torch.full_like(tensor, 9),
        lambda: torch.full_like(tensor, -1),
        lambda: tensor.clone().fill_(math.nan) if tensor.is_floating_point() else tensor,
        lambda: tensor.clone().fill_(math.inf) if tensor.is_floating_point() else tensor,
        lambda: (
            tensor.clone().flatten().index_fill(0, torch.tensor([0]), math.nan).view_as(tensor)
            if tensor.is_floating_point() and tensor.numel()
            else tensor
        ),
        # one element on disk, many when it is computed with
        lambda: torch.zeros((), dtype=tensor.dtype).expand(10**6, 10**6),
        lambda: tensor.float().to_sparse() if tensor.ndim else tensor,
        lambda: torch.empty(tensor.shape, device="meta"),
        lambda: torch.nn.Parameter(tensor.float()),
        lambda: tensor.tolist(),
        lambda: None,
        lambda: "text",
    ]


def test_each_tensor_in_another_form(runs: dict[str, Run]) -> None:
    for run in runs.values():
        for name, tensor in run.content["state_dict"].items():
            for other in other_tensors(tensor):
                state_dict = {**run.content["state_dict"], name: other()}
                checkpoints.save({**run.content, "state_dict": state_dict}, run.path)
                run.evaluate()
            lacking = {k: v for k, v in run.content["state_dict"].items() if k != name}
            checkpoints.save({**run.content, "state_dict": lacking}, run.path)
            assert run.evaluate() is None
        more = {**run.content["state_dict"], "more": torch.zeros(1)}
        checkpoints.save({**run.content, "state_dict": more}, run.path)
        assert run.evaluate() is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_no_accuracy(runs: dict[str, Run], value: float) -> None:
    for run in runs.values():
        for name, tensor in run.content["state_dict"].items():
            if tensor.is_floating_point():
                damaged = tensor.clone(memory_format=torch.contiguous_format)
                damaged.view(-1)[-1] = value
                state_dict = {**run.content["state_dict"], name: damaged}
                checkpoints.save({**run.content, "state_dict": state_dict}, run.path)
                assert run.evaluate() is None


def test_each_field_missing(runs: dict[str, Run]) -> None:
    for run in (runs["CLIPAdapter"], runs["LinearProbe"]):
        for field in run.content:
            lacking = {name: value for name, value in run.content.items() if name != field}
            checkpoints.save(lacking, run.path)
            known = field in ("val_result", "optimizer", "scheduler")
            assert run.evaluate() == (run.accuracy if known else None)


def changed(content: dict[str, Any], data: Any, names: list[str]) -> dict[str, Any]:
    """Return `content` with some of its fields, or of the fields in them, of other values."""
    content = copy.deepcopy(content)
    for _ in range(data.draw(st.integers(1, 2))):
        node: Any = content
        name: Any = data.draw(st.sampled_from(names) | st.sampled_from(sorted(content, key=str)))
        while isinstance(node.get(name), dict) and node[name] and data.draw(st.booleans()):
            node = node[name]
            name = data.draw(st.sampled_from(sorted(node, key=str)))
        action = data.draw(st.sampled_from(["remove", "replace", "replace", "rename"]))
        value = node.pop(name, None)
        if action == "rename":
            node[data.draw(st.text(max_size=5) | st.integers())] = value
        elif action == "replace" and isinstance(value, Tensor):
            node[name] = data.draw(st.sampled_from(other_tensors(value)))()
        elif action == "replace":
            node[name] = data.draw(PLAIN)
        if not content:
            break
    return content


FIELDS = ["state_dict", "epoch", "val_result", "settings", "origin", "optimizer", "scheduler"]


@pytest.mark.parametrize("name", [*HEADS, *FITS])
def test_checkpoints_with_other_values(runs: dict[str, Run], name: str) -> None:
    run = runs[name]

    @fuzz(0.25)
    @given(data=st.data())
    def examine(data: Any) -> None:
        checkpoints.save(changed(run.content, data, FIELDS), run.path)
        run.evaluate()

    examine()


@FUZZ
@given(anything=PLAIN, name=st.sampled_from([*FIELDS, ""]))
@example(anything="4", name="epoch")
@example(anything=1.5, name="epoch")
@example(anything=10**9, name="epoch")
@example(anything=-1, name="epoch")
@example(anything="high", name="val_result")
@example(anything=math.nan, name="val_result")
def test_each_field_of_another_type(runs: dict[str, Run], anything: Any, name: str) -> None:
    for run in (runs["CLIPAdapter"], runs["LinearProbe"]):
        content = {**run.content, name: anything} if name else anything
        torch.save(content, run.path)
        run.evaluate()
    for epoch in ("4", 1.5, 10**9, -1, True, None):
        torch.save({**runs["CLIPAdapter"].content, "epoch": epoch}, runs["CLIPAdapter"].path)
        assert runs["CLIPAdapter"].evaluate() is None


@pytest.mark.parametrize("name", ["CLIPAdapter", "TipAdapter"])
@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_bytes(runs: dict[str, Run], name: str, legacy: bool) -> None:
    run = runs[name]
    file = io.BytesIO()
    torch.save(run.content, file, _use_new_zipfile_serialization=not legacy)

    @fuzz(0.5)
    @given(edits=EDITS, length=st.floats(0, 1) | st.just(1.0))
    def examine(edits: Any, length: float) -> None:
        content = edited(file.getvalue(), edits)
        run.path.write_bytes(content[: int(length * len(content))])
        run.evaluate()

    examine()


def entries_of(content: Any) -> dict[str, bytes]:
    file = io.BytesIO()
    torch.save(content, file)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@FUZZ
@given(data=st.data())
def test_archives_with_damaged_entries(runs: dict[str, Run], data: Any) -> None:
    """The zip file itself is whole; sizes in it may claim what they like."""
    run = runs[data.draw(st.sampled_from(["CLIPAdapter", "SSText"]))]
    entries = entries_of(run.content)
    pickled = next(name for name in entries if name.endswith("/data.pkl"))
    name = data.draw(st.sampled_from([pickled, pickled, *entries]))
    action = data.draw(st.sampled_from(["edit", "edit", "remove", "empty", "grow"]))
    if action == "edit":
        entries[name] = edited(entries[name], data.draw(EDITS))
    elif action == "remove":
        del entries[name]
    else:
        entries[name] = b"" if action == "empty" else entries[name] + bytes(1000)
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    with zipfile.ZipFile(run.path, "w", method) as file:
        for entry, content in entries.items():
            file.writestr(entry, content)
    run.evaluate()


def test_archives_that_unpack_to_more_than_they_are(runs: dict[str, Run]) -> None:
    run = runs["SSText"]
    entries = entries_of(run.content)
    storage = next(name for name in entries if "/data/" in name)
    entries[storage] = bytes(300_000_000)
    with zipfile.ZipFile(run.path, "w", zipfile.ZIP_DEFLATED) as file:
        for entry, content in entries.items():
            file.writestr(entry, content)
    assert run.path.stat().st_size < 1_000_000
    assert run.evaluate() is None


@FUZZ
@given(content=st.binary(max_size=60) | st.text(max_size=20).map(str.encode))
@example(b"../../../nowhere")
@example(b"model.pth.tar-\xff")
@example(b"\0")
@example(b"")
@example(b"a" * 5000)
def test_names_of_the_latest_checkpoint(runs: dict[str, Run], content: bytes) -> None:
    for name in ("CLIPAdapter", "LinearProbe"):
        run = runs[name]
        checkpoints.save(run.content, run.path)
        latest = run.path.parent / checkpoints.LATEST
        before = latest.read_bytes()
        try:
            latest.write_bytes(content)
            assert run.evaluate() in (None, run.accuracy)
        finally:
            latest.write_bytes(before)


# ---- unfinished runs


@pytest.fixture(scope="module")
def unfinished(runs: dict[str, Run]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """What a run left that broke after two epochs, and a trainer that goes on, by method."""
    found = {}
    for name in HEADS:
        folder = runs[name].folder / "broken"
        trainer = runs[name].trainer(folder)
        trainer.epoch = 1
        batch = next(iter(trainer.data.loader("train")))
        trainer.num_batches, trainer.batch_idx = 1, 0
        trainer.forward_backward(batch)
        trainer.best_result = -math.inf
        trainer._save_unfinished()
        content = checkpoints.load(folder / "head" / checkpoints.UNFINISHED)
        # without, a damaged state is set aside and the run begins anew
        trainer.cfg.defrost()
        trainer.cfg.RESUME = str(folder)
        found[name] = (trainer, content)
    return found


def resume_or_refuse(trainer: Any, content: Any) -> int | None:
    """Resume and take a step, which is where a wrong state of the optimizer would show."""
    folder = Path(trainer.output_dir)
    torch.save(content, folder / "head" / checkpoints.UNFINISHED)
    batch = next(iter(trainer.data.loader("train")))

    def resumed() -> int:
        start = trainer.resume_model_if_exist(folder)
        trainer.forward_backward(batch)
        return start

    with within(SECONDS):
        start = settles(resumed)
    if start is not None:
        assert type(start) is int
        assert 0 < start < EPOCHS
        assert type(trainer.best_result) is float
    return start


def test_a_whole_unfinished_run_is_resumed(unfinished: Any) -> None:
    for trainer, content in unfinished.values():
        assert resume_or_refuse(trainer, content) == 2


@pytest.mark.parametrize("name", HEADS)
def test_unfinished_runs_with_other_values(unfinished: Any, name: str) -> None:
    trainer, content = unfinished[name]
    fields = ["optimizer"] * 4 + ["scheduler", "best_result", "epoch"]

    @fuzz(0.5)
    @given(data=st.data())
    def examine(data: Any) -> None:
        resume_or_refuse(trainer, changed(content, data, fields))

    examine()


def test_each_state_of_the_optimizer_in_another_form(unfinished: Any) -> None:
    for trainer, content in unfinished.values():
        for index, states in content["optimizer"]["state"].items():
            for name, tensor in states.items():
                if not isinstance(tensor, Tensor):
                    continue
                for other in other_tensors(tensor):
                    damaged = copy.deepcopy(content)
                    damaged["optimizer"]["state"][index][name] = other()
                    resume_or_refuse(trainer, damaged)
            break


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("epoch", value) for value in ("2", 2.0, True, 10**9, -1, 0, EPOCHS, None)),
        *(("best_result", value) for value in ("1", None, math.nan, [1])),
        *(("scheduler", value) for value in (None, {}, {"last_epoch": "1"}, {"last_epoch": -5})),
        *(("optimizer", value) for value in (None, {}, [], {"state": {}, "param_groups": []})),
        *(("settings", value) for value in (None, {}, [], "text")),
        *(("origin", value) for value in (None, {}, [], "text")),
        *(("state_dict", value) for value in (None, {}, [], "text")),
    ],
)
def test_fields_that_no_run_resumes_from(unfinished: Any, field: str, value: Any) -> None:
    trainer, content = unfinished["CLIPAdapter"]
    assert resume_or_refuse(trainer, {**content, field: value}) is None
    lacking = {name: value for name, value in content.items() if name != field}
    assert resume_or_refuse(trainer, lacking) is None
