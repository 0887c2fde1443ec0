"""Fixtures, and the guard: with Dassl.pytorch itself on the path, these tests are skipped."""

import sys
from pathlib import Path

import dassl
import pytest

IS_STAND_IN = getattr(dassl, "STAND_IN", False)


class _SkippedModule(pytest.Module):
    def collect(self):
        pytest.skip("dassl is not the stand-in of toolkit/", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Skip before the import, as the modules tested here are not all in Dassl.pytorch."""
    return None if IS_STAND_IN else _SkippedModule.from_parent(parent, path=module_path)


@pytest.fixture(autouse=True)
def own_streams(monkeypatch):
    """Undo what `setup_logger` does to the streams."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)


@pytest.fixture(scope="session")
def colour_root(tmp_path_factory) -> Path:
    """Folder of the images of `toy.Colours`."""
    from .toy import write_images

    root = tmp_path_factory.mktemp("colours")
    write_images(root)
    return root


@pytest.fixture
def cfg(colour_root, tmp_path):
    """Configuration of `toy.ColourTrainer` on `toy.Colours`, four epochs of two batches."""
    from .toy import toy_cfg

    return toy_cfg(colour_root, tmp_path / "out")
