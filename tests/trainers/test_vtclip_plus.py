"""VTCLIPPlus between its two ends, ProKeR and VT-CLIP, and what it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.vtclip_plus import FIXED_SHARE
from vtclip import checkpoints
from vtclip.errors import UserError
from vtclip.interruption import Interrupted
from vtclip.results import read_result

from ..conftest import RunTrain
from ..gradients import gradients
from .conftest import Arguments, Build

MOVED = ("TRAINER.VTCLIPPLUS.ZERO_INIT", "False")


@pytest.fixture
def fitted(build: Build, on_bank: Arguments, tmp_path: Path) -> Any:
    """Return what builds the trainer with its correction, and its attention as it starts."""

    def made(*options: str) -> Any:
        trainer = build(on_bank("VTCLIPPlus", tmp_path / "plus", *options))
        trainer.fitted = trainer.fit()
        return trainer

    return made


def test_its_ends_are_proker_and_vtclip(
    fitted: Any, build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    trainer = fitted(*MOVED)
    proker = build(on_bank("ProKeR", tmp_path / "proker"))
    proker.fitted = proker.fit()
    proker.selected_params = proker.search().chosen
    vtclip = build(on_bank("VTCLIP", tmp_path / "vt", "TRAINER.VTCLIP.ZERO_INIT", "False"))
    vtclip.head.load_state_dict(trainer.head.state_dict())
    features, _ = trainer.features("val")
    zero_shot = trainer.zero_shot_logits(features)
    for share, end in {1.0: proker, 0.0: vtclip}.items():
        trainer.selected_params = {"proker_share": share}
        assert trainer.logits(features).equal(end.logits(features))
        assert not end.logits(features).allclose(zero_shot, atol=0.1)
    # what reports show of it
    assert trainer.attention(features).equal(vtclip.attention(features))
    assert trainer.moved_texts(features).equal(vtclip.moved_texts(features))


def test_untrained_it_has_so_much_of_prokers_correction(fitted: Any) -> None:
    trainer = fitted()
    features, _ = trainer.features("val")
    for share in (0.4, 1.0):
        trainer.selected_params = {"proker_share": share}
        correction = trainer.logits(features) - trainer.zero_shot_logits(features)
        expected = share * trainer.correction_logits(features)
        torch.testing.assert_close(correction, expected, atol=1e-4, rtol=1e-4)


def test_logits_are_the_formula(fitted: Any) -> None:
    trainer = fitted(*MOVED)
    trainer.selected_params = {"proker_share": 0.4}
    features, _ = trainer.features("val")
    g = F.normalize(features.global_features, dim=-1)
    texts, support, solved = trainer.text_features, *by_hand(trainer)
    moved = F.normalize(trainer.head(texts, features.spatial_features), dim=-1)
    beta = trainer.search().chosen["beta"]
    expected = 20 * (
        0.6 * torch.einsum("bd,bkd->bk", g, moved)
        + 0.4 * (g @ texts.T + torch.exp(-beta * (1 - g @ support.T)) @ solved)
    )
    torch.testing.assert_close(trainer.logits(features), expected, atol=1e-3, rtol=1e-4)


def by_hand(trainer: Any, left_out: int | None = None) -> tuple[Tensor, Tensor]:
    """Return support and correction from the inverse, without one of the images."""
    chosen = trainer.search().chosen
    features, labels = trainer.features("train")
    kept = [i for i in range(len(labels)) if i != left_out]
    g = F.normalize(features.global_features, dim=-1)[kept].double()
    residual = F.one_hot(labels[kept], 6) - g @ trainer.text_features.T.double()
    gram = torch.exp(-chosen["beta"] * (1 - g @ g.T)) / chosen["lam"]
    solved = torch.linalg.inv(gram + torch.eye(len(g)).double()) @ residual
    return g.float(), solved.float()


@pytest.mark.parametrize("max_pairs", ["7", "2048"])
def test_it_is_trained_in_a_mixture_that_leaves_the_image_out(max_pairs: str, fitted: Any) -> None:
    node = "TRAINER.VTCLIPPLUS"
    trainer = fitted(f"{node}.LEAVE_ONE_OUT", "True", f"{node}.MAX_PAIRS", max_pairs, *MOVED)
    features, labels = trainer.features("train")
    rows = torch.tensor([5, 2, 17])
    beta = trainer.search().chosen["beta"]
    corrections = []
    for i in rows.tolist():
        support, solved = by_hand(trainer, i)
        g = F.normalize(features.global_features[i], dim=-1)
        corrections.append(20 * torch.exp(-beta * (1 - g @ support.T)) @ solved)
    batch = {"features": features[rows], "label": labels[rows], "index": rows}
    loss, scores = trainer.loss(*trainer.parse_batch_train(batch))
    guided, zero_shot = (
        score(features[rows]) for score in (trainer.guided_logits, trainer.zero_shot_logits)
    )
    logits = 0.7 * guided + 0.3 * (zero_shot + torch.stack(corrections))
    expected = F.cross_entropy(logits, labels[rows])
    torch.testing.assert_close(scores, logits, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)
    for gradient, reference in zip(
        gradients(loss, trainer.head), gradients(expected, trainer.head), strict=True
    ):
        torch.testing.assert_close(gradient, reference, atol=1e-4, rtol=1e-3)


def test_the_share_goes_where_validation_is_better(fitted: Any) -> None:
    # texts that were moved at random
    found = fitted(*MOVED).search()
    assert found.chosen["proker_share"] > FIXED_SHARE
    assert found.grid["proker_share"] == [step / 10 for step in range(11)]
    # texts as they were, and a correction that speaks against the labels
    trainer = fitted()
    trainer.fitted["correction"].mul_(-1)
    assert trainer.search().chosen["proker_share"] == 0


def test_where_validation_does_not_tell_the_share_is_the_fixed_one(
    fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = fitted()
    labels = torch.arange(6).repeat(4)
    # what one image of a class gains by a larger share another one loses
    swing = 0.1 * torch.eye(6)[labels] * torch.tensor([1, 1, -1, -1]).repeat_interleave(6)[:, None]
    parts = iter([torch.zeros(24, 6), swing])
    monkeypatch.setattr(trainer, "scores", lambda split, score: (next(parts), labels))
    assert trainer.search().chosen["proker_share"] == FIXED_SHARE


def test_by_default_its_attention_is_that_of_vtclip(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    plus, vtclip = (build(on_bank(name, tmp_path / name)) for name in ("VTCLIPPlus", "VTCLIP"))
    plus.train()
    vtclip.train()
    for name, value in vtclip.head.state_dict().items():
        assert value.equal(plus.head.state_dict()[name]), name
    left_out = ("TRAINER.VTCLIPPLUS.LEAVE_ONE_OUT", "True")
    other = build(on_bank("VTCLIPPlus", tmp_path / "left_out", *left_out))
    other.train()
    assert any(
        not value.equal(plus.head.state_dict()[name])
        for name, value in other.head.state_dict().items()
    )


@pytest.mark.parametrize("method", ["VTCLIPPlus", "ProKeR"])
def test_an_evaluation_loads_what_was_solved(
    method: str, run_train: RunTrain, on_bank: Arguments, tmp_path: Path
) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    assert run_train(*on_bank(method, run)) == 0
    # other few-shot lists, from which nothing is fitted again
    flags = ("--eval-only", f"--model-dir={run}", "--seed=2")
    assert run_train(*on_bank(method, again, *flags)) == 0
    first, second = (read_result(folder / "result.json") for folder in (run, again))
    assert (first.correct, first.search) == (second.correct, second.search)
    # a run without a result has chosen nothing, and keeps its beta
    (run / "result.json").unlink()
    assert run_train(*on_bank(method, tmp_path / "third", *flags)) == 0
    assert read_result(tmp_path / "third" / "result.json").search is None


def test_a_run_that_chose_something_else_is_refused(
    run_train: RunTrain, on_bank: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert run_train(*on_bank("VTCLIPPlus", run)) == 0
    path = run / "result.json"
    path.write_text(path.read_text().replace('"proker_share"', '"correction_weight"'))
    capsys.readouterr()
    flags = ("--eval-only", f"--model-dir={run}")
    assert run_train(*on_bank("VTCLIPPlus", tmp_path / "again", *flags)) == 2
    assert "chose beta, lam, correction_weight, and not proker_share" in capsys.readouterr().err


def test_a_correction_of_another_shape_is_refused(
    run_train: RunTrain, on_bank: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert run_train(*on_bank("VTCLIPPlus", run)) == 0
    path = checkpoints.find(run / "fitted", None)
    content = checkpoints.load(path)
    content["state_dict"]["beta"] = torch.ones(2)
    checkpoints.save(content, path)
    flags = ("--eval-only", f"--model-dir={run}")
    capsys.readouterr()
    assert run_train(*on_bank("VTCLIPPlus", tmp_path / "again", *flags)) == 2
    assert "does not fit this run (beta is of shape (2,)" in capsys.readouterr().err


def test_a_broken_run_goes_on_as_an_unbroken_one(
    build: Build, on_bank: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build(on_bank("VTCLIPPlus", tmp_path / "whole"))
    whole.train()
    broken = build(on_bank("VTCLIPPlus", tmp_path / "broken"))
    step = broken.forward_backward

    def interrupted(batch: Any) -> Any:
        if broken.epoch == 3:
            raise KeyboardInterrupt
        return step(batch)

    monkeypatch.setattr(broken, "forward_backward", interrupted)
    with pytest.raises(Interrupted):
        broken.train()
    resumed = build(on_bank("VTCLIPPlus", tmp_path / "broken"))
    resumed.train()
    assert resumed.start_epoch > 0
    for name, value in whole.head.state_dict().items():
        assert value.equal(resumed.head.state_dict()[name]), name


def test_other_classes_and_a_wrong_number_of_heads_are_refused(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"TRAINER\.TRANSFER: the kernel of VTCLIPPlus"):
        build(on_bank("VTCLIPPlus", tmp_path, "TRAINER.TRANSFER", "True"))
    with pytest.raises(UserError, match=r"TRAINER\.VTCLIPPLUS\.N_HEADS: 3 does not divide 16"):
        build(on_bank("VTCLIPPlus", tmp_path, "TRAINER.VTCLIPPLUS.N_HEADS", "3"))
