"""Fixtures of many tests: the real data beside the project, and small runs of real trainers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

ROOT = Path(__file__).parent.parent
RunTrain = Callable[..., int]


class Lent:
    """A stream that its borrower may close without effect, as the real Dassl's logger does."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        self._stream.flush()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or a skip that says what is absent."""
    folder = Path(os.environ.get("VTCLIP_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set VTCLIP_REAL_DATA)")
    return folder.resolve()


@pytest.fixture(scope="session")
def digits_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root for the embedded digits, shared by a session."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def run_train(
    digits_root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> RunTrain:
    """Run train.py's main in this process on the embedded digits; returns its exit code."""
    return runner(digits_root, tmp_path_factory, monkeypatch)


@pytest.fixture(scope="module")
def run_train_once(
    digits_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunTrain]:
    """As `run_train`, for runs that the tests of a module share."""
    with pytest.MonkeyPatch.context() as patch:
        yield runner(digits_root, tmp_path_factory, patch)


def runner(
    digits_root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> RunTrain:
    """Return train.py's main, with the environment that it needs."""
    import train

    monkeypatch.setenv("VTCLIP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("DATA", str(digits_root))

    def run(*argv: str) -> int:
        # Dassl's logger takes standard output over for good
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", Lent(sys.stdout))
            return train.main(list(argv))

    return run
