"""Configurations of every method and backbone, and BASE, by which they share what they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

import trainers
from vtclip import config
from vtclip.errors import UserError

from ..conftest import ROOT

FOLDER = ROOT / "configs" / "trainers"
BACKBONES = {
    "tiny": ("tiny", 96),
    "rn50": ("RN50", 224),
    "rn101": ("RN101", 224),
    "vit_b32": ("ViT-B/32", 224),
    "vit_b16": ("ViT-B/16", 224),
}


def merged(path: Path) -> CfgNode:
    cfg = get_cfg_default()
    config.extend_cfg(cfg)
    config.merge_file(cfg, path)
    return cfg


def test_every_method_has_a_configuration_for_every_backbone() -> None:
    assert trainers.__all__
    own = {path.name for path in FOLDER.iterdir()}
    assert own <= set(TRAINER_REGISTRY.registered_names())
    for trainer in own:
        assert {path.stem for path in (FOLDER / trainer).iterdir()} == BACKBONES.keys()
        for stem, (backbone, size) in BACKBONES.items():
            cfg = merged(FOLDER / trainer / f"{stem}.yaml")
            config.check_cfg(cfg)
            assert (backbone, (size, size)) == (cfg.MODEL.BACKBONE.NAME, cfg.INPUT.SIZE)
            assert cfg.INPUT.INTERPOLATION == "bicubic"
            assert "normalize" in cfg.INPUT.TRANSFORMS
            assert config.default_method_file(FOLDER, trainer, backbone) is not None


def test_facts_of_the_authors() -> None:
    coop = merged(FOLDER / "CoOp" / "rn50.yaml")
    assert (coop.OPTIM.NAME, coop.OPTIM.LR, coop.OPTIM.MAX_EPOCH) == ("sgd", 0.002, 200)
    assert (coop.OPTIM.WARMUP_EPOCH, coop.OPTIM.WARMUP_CONS_LR) == (1, 1e-5)
    assert (coop.OPTIM.WEIGHT_DECAY, coop.OPTIM.MOMENTUM) == (5e-4, 0.9)
    assert (coop.DATALOADER.TRAIN_X.BATCH_SIZE, coop.DATALOADER.NUM_WORKERS) == (32, 8)
    tip = merged(FOLDER / "TipAdapterF" / "rn50.yaml")
    assert (tip.OPTIM.NAME, tip.OPTIM.LR, tip.OPTIM.MAX_EPOCH) == ("adamw", 0.001, 20)
    assert (tip.DATALOADER.TRAIN_X.BATCH_SIZE, tip.INPUT.RRCROP_SCALE) == (256, (0.5, 1.0))


def test_base_comes_first_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("OPTIM: {LR: 0.1, MAX_EPOCH: 1}\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.yaml").write_text("BASE: ../a.yaml\nOPTIM: {LR: 0.2}\n")
    (tmp_path / "c.yaml").write_text("OPTIM: {NAME: sgd}\nBASE: [deep/b.yaml, a.yaml]\n")
    (tmp_path / "d.yaml").write_text("BASE: deep/b.yaml\n")
    assert merged(tmp_path / "d.yaml").OPTIM.LR == 0.2
    assert merged(tmp_path / "d.yaml").OPTIM.MAX_EPOCH == 1
    assert merged(tmp_path / "c.yaml").OPTIM.LR == 0.1
    assert "BASE" not in merged(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("self.yaml", "back to itself"),
        ("missing.yaml", "missing.yaml: no such configuration file"),
        ({"a": 1}, "takes a path or a list"),
        ([3], "takes a path or a list"),
    ],
)
def test_a_wrong_base(base: Any, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "self.yaml"
    path.write_text(f"BASE: {base}\n")
    with pytest.raises(UserError, match=expected):
        merged(path)
