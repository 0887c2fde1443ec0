"""Trainers on a made-up file of features, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dassl.engine import build_trainer
from dassl.utils import set_random_seed

from vtclip.plugins import import_modules

from ..conftest import ROOT
from .bank import write_bank

Arguments = Callable[..., list[str]]
Build = Callable[..., Any]


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bank(tmp_path_factory.mktemp("bank") / "bank.npz")


@pytest.fixture
def on_bank(bank: Path) -> Arguments:
    """Return the arguments of train.py for a method on the file of features."""

    def arguments(trainer: str, folder: Path, *options: str, file: Path = bank) -> list[str]:
        flags = [option for option in options if option.startswith("--")]
        pairs = [option for option in options if not option.startswith("--")]
        return [
            *("--trainer", trainer, "--output-dir", str(folder), *flags),
            *("--dataset-config-file", str(ROOT / "configs" / "datasets" / "feature_bank.yaml")),
            *("DATASET.FEATURE_BANK", str(file), "DATASET.NUM_SHOTS", "4", "OPTIM.MAX_EPOCH", "6"),
            *("DATALOADER.TRAIN_X.BATCH_SIZE", "8", *pairs),
        ]

    return arguments


@pytest.fixture
def build(digits_root: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Return what builds a trainer from arguments of train.py, without a log file."""
    import train

    monkeypatch.setenv("DATA", str(digits_root))

    def built(arguments: list[str]) -> Any:
        import_modules(["trainers", "datasets"])
        cfg, _ = train.plan_of(train.parse_args(arguments)).run(1, several=False)
        set_random_seed(cfg.SEED)
        return build_trainer(cfg)

    return built
