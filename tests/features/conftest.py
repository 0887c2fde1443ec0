from __future__ import annotations

from pathlib import Path

import pytest

from vtclip.features import Encoding

from .stub import StubBackbone, plain_transform, write_images


@pytest.fixture
def backbone() -> StubBackbone:
    return StubBackbone()


@pytest.fixture
def encoding(backbone: StubBackbone) -> Encoding:
    return Encoding(backbone, plain_transform, "plain")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write_images(tmp_path / "images", 10)
