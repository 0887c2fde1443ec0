"""Configurations, real data where there is some, and a cache folder of their own."""

import os
from pathlib import Path

import pytest
from dassl.config import get_cfg_default

from vtclip.config import extend_cfg

ROOT = Path(__file__).resolve().parents[2]
REAL_DATA = Path(os.environ.get("VTCLIP_REAL_DATA") or ROOT / "../shared/data").resolve()


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def make_cfg():
    def make(root, shots=-1, **dataset):
        cfg = get_cfg_default()
        extend_cfg(cfg)
        cfg.DATASET.ROOT = str(root)
        cfg.DATASET.NUM_SHOTS = shots
        for key, value in dataset.items():
            cfg.DATASET[key] = value
        return cfg

    return make


@pytest.fixture(scope="session")
def real_data():
    if not (REAL_DATA / "splits").is_dir():
        pytest.skip(f"no real data in {REAL_DATA}; set VTCLIP_REAL_DATA")
    return REAL_DATA
