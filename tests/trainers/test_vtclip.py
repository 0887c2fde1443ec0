"""What VTCLIP's own switches do to the loss it trains on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from vtclip.errors import UserError
from vtclip.results import read_result

from ..gradients import gradients
from .conftest import Arguments, Build

BLEND = ("TRAINER.VTCLIP.CLIP_LOGIT_WEIGHT", "0.3")


@pytest.mark.parametrize("blend", [(), BLEND])
@pytest.mark.parametrize("max_pairs", ["1", "7", "2048"])
def test_the_loss_is_that_of_the_logits_at_every_peak(
    max_pairs: str, blend: tuple[str, ...], build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    chunks = ("TRAINER.VTCLIP.MAX_PAIRS", max_pairs)
    trainer = build(on_bank("VTCLIP", tmp_path, *blend, *chunks))
    features, label = first_batch(trainer)
    logits = trainer.logits(features)
    expected = F.cross_entropy(logits, label)
    loss, scores = trainer.loss(features, label)
    torch.testing.assert_close(scores, logits, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    for gradient, reference in zip(
        gradients(loss, trainer.head), gradients(expected, trainer.head), strict=True
    ):
        torch.testing.assert_close(gradient, reference, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("blend", [(), BLEND])
def test_bf16_products_change_little_and_leave_the_weights_in_fp32(
    blend: tuple[str, ...], build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    scores = {}
    for precision in ("fp32", "amp"):
        options = ("TRAINER.VTCLIP.PREC", precision, "TRAINER.VTCLIP.ZERO_INIT", "False")
        trainer = build(on_bank("VTCLIP", tmp_path / precision, *options, *blend))
        features, label = first_batch(trainer)
        loss, scores[precision] = trainer.loss(features, label)
        torch.testing.assert_close(scores[precision], trainer.logits(features))
        loss.backward()
        assert {p.grad.dtype for p in trainer.head.parameters() if p.grad is not None} == {
            torch.float32
        }
    torch.testing.assert_close(scores["amp"], scores["fp32"], atol=1.0, rtol=0)
    assert not scores["amp"].equal(scores["fp32"])


@pytest.mark.parametrize(("fast", "same_as"), [(True, "amp"), (False, "fp32")])
def test_auto_goes_by_the_device(
    fast: bool,
    same_as: str,
    build: Build,
    on_bank: Arguments,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = []
    for precision in ("auto", same_as):
        options = ("TRAINER.VTCLIP.PREC", precision, "TRAINER.VTCLIP.ZERO_INIT", "False")
        trainer = build(on_bank("VTCLIP", tmp_path / precision, *options))
        names = type(trainer)._precision.__globals__
        monkeypatch.setitem(names, "bf16_is_fast", lambda _: fast)
        monkeypatch.setitem(names, "WORTH_BF16", trainer.provider.embed_dim)
        scores.append(trainer.logits(first_batch(trainer)[0]))
    assert scores[0].equal(scores[1])


@pytest.mark.parametrize("name", ["adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw"])
def test_every_optimiser_takes_a_step(
    name: str, build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    trainer = build(on_bank("VTCLIP", tmp_path, "OPTIM.NAME", name))
    before = [p.clone() for p in trainer.head.parameters()]
    trainer.model_backward_and_update(trainer.loss(*first_batch(trainer))[0])
    assert any(not p.equal(b) for p, b in zip(trainer.head.parameters(), before, strict=True))


def test_sgd_takes_a_parameter_whose_first_gradient_is_late(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    trainer = build(on_bank("VTCLIP", tmp_path, "OPTIM.NAME", "sgd"))
    first, second, *_ = trainer.head.parameters()
    trainer.model_backward_and_update(first.sum())
    before = second.clone()
    trainer.model_backward_and_update(first.sum() + second.sum())
    assert not second.equal(before)


def first_batch(trainer: Any) -> Any:
    """Return features and labels of eight training images."""
    features, labels = trainer.features("train")
    return features[:8], labels[:8]


@pytest.mark.parametrize("method", ["VTCLIP", "VTCLIPPlus"])
def test_a_shortlist_of_all_classes_is_the_method_to_the_last_digit(
    method: str, build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    found = {}
    for count in ("0", "6", "2"):
        key = f"TRAINER.{method.upper()}.SHORTLIST"
        folder = tmp_path / count
        trainer = build(on_bank(method, folder, key, count))
        trainer.train()
        logits = trainer.logits(trainer.features("val")[0])
        weights = torch.cat([p.detach().flatten() for p in trainer.head.parameters()])
        found[count] = logits, weights, read_result(folder / "result.json")
    assert found["6"][0].equal(found["0"][0])
    assert found["6"][1].equal(found["0"][1])
    assert found["6"][2].accuracy == found["0"][2].accuracy
    assert not found["2"][1].equal(found["0"][1])
    assert found["2"][2].method == f"{method} (shortlist 2)"
    assert found["0"][2].method == method


def test_classes_beyond_the_shortlist_keep_the_logits_of_clip(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    options = ("TRAINER.VTCLIP.SHORTLIST", "2", "TRAINER.VTCLIP.ZERO_INIT", "False")
    trainer = build(on_bank("VTCLIP", tmp_path, *options))
    features, label = first_batch(trainer)
    zero_shot = trainer.zero_shot_logits(features)
    for scores, chosen in (
        (trainer.logits(features), trainer.shortlist(features)),
        (trainer.loss(features, label)[1], trainer.shortlist(features, label)),
    ):
        moved = (scores - zero_shot).abs() > 1e-4
        assert moved.equal(torch.zeros_like(moved).scatter(1, chosen, True))


@pytest.mark.parametrize("value", ["-1", "2000000", "1.5", "all"])
def test_a_shortlist_of_a_wrong_size_is_refused(
    value: str, build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"TRAINER\.VTCLIP\.SHORTLIST"):
        build(on_bank("VTCLIP", tmp_path, "TRAINER.VTCLIP.SHORTLIST", value))


def test_a_shortlist_is_refused_where_later_texts_attend_to_all(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    options = ("TRAINER.VTCLIP.SHORTLIST", "2", "TRAINER.VTCLIP.N_LAYERS", "2")
    with pytest.raises(UserError, match=r"SHORTLIST: in later layers"):
        build(on_bank("VTCLIP", tmp_path / "refused", *options))
    build(on_bank("VTCLIP", tmp_path / "taken", *options, "TRAINER.VTCLIP.SELF_ATTENTION", "False"))


@pytest.mark.parametrize(
    ("optimizer", "rate", "warned"),
    [("adamw", "0.02", True), ("adamw", "0.003", False), ("sgd", "0.02", False)],
)
def test_a_rate_that_is_too_high_for_the_width_is_said(
    optimizer: str, rate: str, warned: bool, run_train: Any, tmp_path: Path, capfd: Any
) -> None:
    # tiny has D 128
    schedule = ("OPTIM.NAME", optimizer, "OPTIM.LR", rate, "OPTIM.MAX_EPOCH", "1")
    assert run_train("--shots", "1", "--output-dir", str(tmp_path), *schedule) == 0
    lines = capfd.readouterr().err.splitlines()
    assert sum(f"OPTIM.LR {rate} is high for D 128" in line for line in lines) == warned
