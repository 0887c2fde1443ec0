"""Trainers on a made-up file of features, in this process."""

from __future__ import annotations

import os
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


@pytest.fixture(scope="session")
def coop_checkout() -> Path:
    """A checkout of KaiyangZhou/CoOp, or a skip that says what is absent."""
    checkout = os.environ.get("VTCLIP_COOP")
    if not checkout or not Path(checkout, "trainers", "coop.py").is_file():
        pytest.skip(f"no CoOp at VTCLIP_COOP={checkout!r}: a checkout of KaiyangZhou/CoOp")
    return Path(checkout).resolve()


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
