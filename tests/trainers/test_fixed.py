"""SEARCH False: no validation image is read, and the values are the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

from vtclip.methods.lp_plus_plus import Descent
from vtclip.methods.proker import fixed_kernel
from vtclip.results import read_result

from ..conftest import RunTrain
from .conftest import Arguments, Build

SEARCHED = ["TipAdapter", "TipAdapterF", "GDA", "ProKeR", "LinearProbe", "LPPlusPlus", "P0"]


def fixed(name: str) -> tuple[str, str]:
    return f"TRAINER.{name.upper()}.SEARCH", "False"


@pytest.fixture
def without_val(build: Build, on_bank: Arguments, tmp_path: Path, monkeypatch: Any) -> Any:
    """Return what builds a method, fits it, and gives its logits of validation images."""

    def made(name: str, *options: str) -> tuple[Any, Any, Tensor]:
        trainer = build(on_bank(name, tmp_path, *fixed(name), *options))
        held, _ = trainer.features("val")
        read = trainer.features

        def apart(split: str) -> Any:
            assert split != "val"
            return read(split)

        monkeypatch.setattr(trainer, "features", apart)
        trainer.fitted = trainer.fit()
        assert not trainer.chooses_on_val()
        return trainer, held, trainer.logits(held)

    return made


def normalised(features: Any) -> Tensor:
    return F.normalize(features.global_features, dim=-1).double()


def support_of(trainer: Any) -> tuple[Tensor, Tensor]:
    features, labels = trainer.features("train")
    return normalised(features), labels


def test_tip_adapter(without_val: Any) -> None:
    trainer, held, logits = without_val("TipAdapter")
    support, labels = support_of(trainer)
    g, texts = normalised(held), trainer.text_features.double()
    # ImageNet's alpha for datasets that are not the authors', and beta 1
    affinity = torch.exp(-(1 - g @ support.T))
    expected = 20 * g @ texts.T + 1.17 * affinity @ F.one_hot(labels, 6).double()
    torch.testing.assert_close(logits.double(), expected, atol=1e-4, rtol=1e-4)


def test_proker(without_val: Any) -> None:
    trainer, held, logits = without_val("ProKeR")
    support, labels = support_of(trainer)
    g, texts = normalised(held), trainer.text_features.double()

    def similar(x: Tensor) -> Tensor:
        # 4 shots
        return torch.exp(-1.5 * (1 - x @ support.T))

    residual = F.one_hot(labels, 6) - support @ texts.T
    solved = torch.linalg.inv(similar(support) / 0.05 + torch.eye(len(support))) @ residual
    expected = 20 * (g @ texts.T + similar(g) @ solved)
    torch.testing.assert_close(logits.double(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("images_per_class", "expected"),
    [(0.5, 3.0), (1, 3.0), (2, 2.6), (3, 1.5), (5, 1.5), (8, 1.66), (16, 1.7), (500, 1.7)],
)
def test_the_kernel_of_the_nearest_number_of_shots(
    images_per_class: float, expected: float
) -> None:
    assert fixed_kernel(images_per_class)[0] == expected


def test_gda(without_val: Any) -> None:
    trainer, held, logits = without_val("GDA")
    g = normalised(held).float()
    gaussian = F.linear(g, trainer.fitted["weight"], trainer.fitted["bias"])
    expected = 20 * g @ trainer.text_features.T + 0.1 * gaussian
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_linear_probe(without_val: Any) -> None:
    trainer, held, logits = without_val("LinearProbe")
    features, labels = trainer.features("train")
    model = LogisticRegression(C=0.316, max_iter=1000)
    model.fit(features.global_features.double().numpy(), labels.numpy())
    expected = model.decision_function(held.global_features.double().numpy())
    torch.testing.assert_close(logits, torch.from_numpy(expected), atol=1e-3, rtol=1e-3)


def test_lp_plus_plus(without_val: Any) -> None:
    trainer, held, logits = without_val("LPPlusPlus", "TRAINER.LPPLUSPLUS.EPOCHS", "40")
    support, labels = support_of(trainer)
    last = Descent(support.float(), labels, trainer.text_features).at(40)
    expected = last.logits(normalised(held).float(), trainer.text_features)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_vtclip_plus(without_val: Any) -> None:
    trainer, held, logits = without_val("VTCLIPPlus")
    # its attention starts at zero-shot CLIP, to which 0.3 of the correction comes
    support, labels = support_of(trainer)
    g, texts = normalised(held), trainer.text_features.double()
    residual = F.one_hot(labels, 6) - support @ texts.T
    gram = torch.exp(-1.5 * (1 - support @ support.T)) / 0.05 + torch.eye(len(support))
    similar = torch.exp(-1.5 * (1 - g @ support.T))
    expected = 20 * (g @ texts.T + 0.3 * similar @ torch.linalg.solve(gram, residual))
    torch.testing.assert_close(logits.double(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", [*SEARCHED, "VTCLIPPlus"])
def test_a_run_says_so(name: str, run_train: RunTrain, on_bank: Arguments, tmp_path: Path) -> None:
    assert run_train(*on_bank(name, tmp_path, *fixed(name))) == 0
    result = read_result(tmp_path / "result.json")
    assert result.search is None
    assert result.selected_on != "val"
    assert result.method == f"{name} (fixed)"
    assert "Fixed, not searched: {" in (tmp_path / "log.txt").read_text()
    # an evaluation gives the same
    evaluation = ("--eval-only", f"--model-dir={tmp_path}")
    assert run_train(*on_bank(name, tmp_path / "again", *evaluation, *fixed(name))) == 0
    assert read_result(tmp_path / "again" / "result.json").accuracy == result.accuracy
