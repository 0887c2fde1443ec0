"""RLA and P0 as trainers: every step of the authors' recipe replayed, and what is chosen."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.p0 import candidates
from vtclip.methods.p0 import text_basis
from vtclip.results import read_result

from .conftest import Arguments, Build

FULL = ("DATALOADER.TRAIN_X.BATCH_SIZE", "1000000", "OPTIM.MAX_EPOCH", "30")


def replayed(
    g: Tensor, labels: Tensor, texts: Tensor, basis: Tensor, rate: float, lam: float
) -> Tensor:
    """Return A after 30 steps of Adam with epsilon 1e-4, written out, in float64."""
    a = torch.zeros_like(basis)
    first, second = torch.zeros_like(a), torch.zeros_like(a)
    for step in range(30):
        a.requires_grad_()
        z = F.normalize(g + g @ a @ basis.T, dim=1)
        loss = F.cross_entropy(20 * z @ texts.T, labels) + lam * (a**2).sum()
        (gradient,) = torch.autograd.grad(loss, a)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        mean, variance = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        now = rate * (1 + math.cos(math.pi * step / 30)) / 2
        a = a.detach() - now * mean / (variance.sqrt() + 1e-4)
    return a


def doubles(built) -> tuple[Tensor, Tensor, Tensor]:
    features, labels = built.features("train")
    return features.global_features.double(), labels, built.text_features.double()


def test_rla_takes_the_authors_steps(build: Build, on_bank: Arguments, tmp_path: Path) -> None:
    built = build(on_bank("RLA", tmp_path, *FULL, "OPTIM.LR", "1e-3"))
    built.train()
    g, labels, texts = doubles(built)
    identity = torch.eye(16, dtype=torch.float64)
    expected = replayed(g, labels, texts, identity, 1e-3, 1 / 4)
    torch.testing.assert_close(built.head.weight.double(), expected, atol=2e-6, rtol=1e-3)
    assert expected.abs().max() > 5e-3


@pytest.mark.parametrize("lam", ["0", "2.5"])
def test_rla_takes_the_penalty_that_is_set(
    lam: str, build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    built = build(on_bank("RLA", tmp_path, "TRAINER.RLA.LAMBDA", lam))
    features, labels = built.features("train")
    built.head.weight.data.fill_(0.01)
    loss, logits = built.loss(features, labels)
    expected = F.cross_entropy(logits, labels) + float(lam) * 256 * 1e-4
    torch.testing.assert_close(loss, expected)


def test_no_penalty_between_that_by_shots_and_zero(
    run_train, on_bank: Arguments, tmp_path: Path, capsys
) -> None:
    assert run_train(*on_bank("RLA", tmp_path, "TRAINER.RLA.LAMBDA", "-0.5")) == 2
    assert "TRAINER.RLA.LAMBDA: -0.5 is negative" in capsys.readouterr().err.splitlines()[-1]


def test_p0_trains_its_candidates_apart(build: Build, on_bank: Arguments, tmp_path: Path) -> None:
    built = build(on_bank("P0", tmp_path, *FULL))
    built.train()
    g, labels, texts = doubles(built)
    basis = text_basis(texts)
    for number, (part, lam) in enumerate(candidates(4)):
        expected = replayed(g, labels, texts, basis, part * 1e-3, lam)
        found = built.head.weights[number].double()
        torch.testing.assert_close(found, expected, atol=1e-4 * part, rtol=5e-3)


def test_candidates_are_the_authors() -> None:
    found = candidates(2)
    assert len(set(found)) == 9
    assert {lam for part, lam in found if part == 1} == {0.5, 0, 0.01, 0.1, 1, 10, 100}
    assert {(part, lam) for part, lam in found if part != 1} == {(0.1, 0.5), (10.0, 0.5)}


def test_p0_scores_with_the_candidate_it_chose(
    build: Build, on_bank: Arguments, tmp_path: Path
) -> None:
    built = build(on_bank("P0", tmp_path, *FULL))
    built.train()
    search = built.search_result
    chosen = int(search.chosen["candidate"])
    assert search.chosen["rate"] == search.grid["rate"][chosen]
    assert search.chosen["lam"] == search.grid["lam"][chosen]
    features, labels = built.features("val")
    found = []
    for a in built.head.weights:
        z = F.normalize(features.global_features @ (torch.eye(16) + a @ built.head.basis.T), dim=1)
        found.append(20 * z @ built.text_features.T)
    torch.testing.assert_close(built.logits(features), found[chosen])
    correct = [int((scores.argmax(1) == labels).sum()) for scores in found]
    assert correct[chosen] == max(correct)
    assert search.accuracy == pytest.approx(100 * max(correct) / len(labels))


def test_p0_without_search_trains_the_first_candidate_alone(
    run_train, on_bank: Arguments, tmp_path: Path
) -> None:
    assert run_train(*on_bank("P0", tmp_path, *FULL, "TRAINER.P0.SEARCH", "False")) == 0
    result = read_result(tmp_path / "result.json")
    assert result.search is None and result.selected_on == "last epoch"
    assert result.trainable_parameters == 16 * 5
