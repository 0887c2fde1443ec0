"""Trainers on a made-up file of features, in this process."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import set_random_seed

from vtclip.plugins import import_modules

from ..conftest import ROOT
from .bank import write_bank

Arguments = Callable[..., list[str]]
Build = Callable[..., Any]


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bank(tmp_path_factory.mktemp("bank") / "bank.npz")


def checkout(variable: str, repository: str, file: str) -> Path:
    """The checkout that an environment variable names, or a skip that says what is absent."""
    folder = os.environ.get(variable)
    if not folder or not Path(folder, file).is_file():
        pytest.skip(f"no {file} at {variable}={folder!r}: a checkout of {repository}")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def coop_checkout() -> Path:
    return checkout("VTCLIP_COOP", "KaiyangZhou/CoOp", "trainers/coop.py")


def module_of(file: Path) -> ModuleType:
    """The module of a file of other authors; its trainers stay out of the registry."""
    spec = importlib.util.spec_from_file_location(f"authors_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TRAINER_REGISTRY, "register", lambda: lambda trainer: trainer)
        spec.loader.exec_module(module)
    return module


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
