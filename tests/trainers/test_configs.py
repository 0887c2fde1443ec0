"""The facts of every method, the five configurations of VT-CLIP, and BASE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dassl.config import get_cfg_default
from yacs.config import CfgNode

import trainers
from vtclip import config
from vtclip.config.check import domains
from vtclip.errors import UserError
from vtclip.method import registered_methods
from vtclip.protocol import optimizer_departures, protocol_values, run_settings
from vtclip.run_config import RunArguments, RunPlan, plan_run

from ..conftest import ROOT

CONFIGS = ROOT / "configs"
BACKBONES = {
    "tiny": "tiny",
    "rn50": "RN50",
    "rn101": "RN101",
    "vit_b32": "ViT-B/32",
    "vit_b16": "ViT-B/16",
}
METHODS = sorted(registered_methods())


def merged(path: Path) -> CfgNode:
    cfg = get_cfg_default()
    config.extend_cfg(cfg)
    config.merge_file(cfg, path)
    return cfg


def protocol_of(name: str) -> CfgNode:
    cfg = get_cfg_default()
    config.extend_cfg(cfg)
    config.merge_values(cfg, protocol_values(registered_methods()[name]))
    return cfg


def test_only_configurations_that_say_something_are_there() -> None:
    assert trainers.__all__
    folders = {path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*") if path.is_dir()}
    assert folders == {"datasets", "trainers", "trainers/VTCLIP", "trainers/CLIPAdapter"}
    assert {path.stem for path in (CONFIGS / "trainers" / "VTCLIP").iterdir()} == BACKBONES.keys()
    assert [path.name for path in (CONFIGS / "trainers" / "CLIPAdapter").iterdir()] == [
        "tuned.yaml"
    ]
    tuned = merged(CONFIGS / "trainers" / "CLIPAdapter" / "tuned.yaml")
    assert tuned.TRAINER.NAME == "CLIPAdapter" and tuned.TRAINER.CLIPADAPTER.SEARCH_RATIO


@pytest.mark.parametrize("stem", BACKBONES)
def test_a_configuration_of_vtclip_is_its_protocol(stem: str) -> None:
    cfg = merged(CONFIGS / "trainers" / "VTCLIP" / f"{stem}.yaml")
    assert BACKBONES[stem] == cfg.MODEL.BACKBONE.NAME
    expected = protocol_of("VTCLIP")
    expected.MODEL.BACKBONE.NAME = BACKBONES[stem]
    for one in (cfg, expected):
        one.TRAINER.NAME = "VTCLIP"
    assert run_settings(cfg) == run_settings(expected)


@pytest.mark.parametrize("name", METHODS)
def test_the_protocol_of_a_method_passes_its_own_checks(name: str) -> None:
    cfg = protocol_of(name)
    config.check_cfg(cfg)
    method = registered_methods()[name]
    node = cfg.TRAINER.get(method.option_node(), {})
    assert set(node) == set(method.OPTIONS)
    for key, option in method.OPTIONS.items():
        assert domains()[f"TRAINER.{method.option_node()}.{key}"] is option
        assert option.problem(option.default) == ""
        assert option.meaning
    assert method.transfers or method.transfer_obstacle(cfg) or name == "CoOp"


def test_facts_of_the_authors() -> None:
    coop = protocol_of("CoOp")
    assert (coop.OPTIM.NAME, coop.OPTIM.LR) == ("sgd", 0.002)
    assert (coop.OPTIM.WARMUP_EPOCH, coop.OPTIM.WARMUP_CONS_LR) == (1, 1e-5)
    assert (coop.OPTIM.WEIGHT_DECAY, coop.OPTIM.MOMENTUM) == (5e-4, 0.9)
    assert coop.DATALOADER.TRAIN_X.BATCH_SIZE == 32
    tip = protocol_of("TipAdapterF")
    assert (tip.OPTIM.NAME, tip.OPTIM.LR, tip.OPTIM.WARMUP_EPOCH) == ("adamw", 0.001, -1)
    assert (tip.DATALOADER.TRAIN_X.BATCH_SIZE, tip.INPUT.RRCROP_SCALE) == (256, (0.5, 1.0))
    res = protocol_of("TaskRes")
    assert (res.OPTIM.NAME, res.OPTIM.LR, res.OPTIM.WARMUP_EPOCH) == ("adam", 0.002, 1)
    assert (res.OPTIM.WEIGHT_DECAY, res.DATALOADER.TRAIN_X.BATCH_SIZE) == (5e-4, 256)
    clap = protocol_of("CLAP")
    assert clap == protocol_of("ZSLP")
    assert (clap.OPTIM.NAME, clap.OPTIM.LR, clap.OPTIM.MOMENTUM) == ("sgd", 0.1, 0.9)
    assert (clap.OPTIM.WEIGHT_DECAY, clap.OPTIM.WARMUP_EPOCH) == (0.0, 1)
    assert (clap.DATALOADER.TRAIN_X.BATCH_SIZE, clap.FEATURES.VIEWS) == (256, 20)


@pytest.mark.parametrize(
    ("dataset", "rate", "scale"),
    [("imagenet", 2e-4, 0.5), ("oxford_flowers", 2e-3, 1.0), ("dtd", 2e-3, 0.5)],
)
def test_a_protocol_may_differ_on_a_dataset(dataset: str, rate: float, scale: float, capsys):
    def plan(*options: str) -> RunPlan:
        file = str(CONFIGS / "datasets" / f"{dataset}.yaml")
        arguments = RunArguments(trainer="TaskRes", dataset_file=file, shots=1, options=options)
        return plan_run(arguments, CONFIGS)

    as_published = plan()
    cfg = as_published.cfg
    assert (rate, scale) == (cfg.OPTIM.LR, cfg.TRAINER.TASKRES.RESIDUAL_SCALE)
    assert as_published.folder.name == "tiny_1shots"
    assert optimizer_departures(cfg, registered_methods()["TaskRes"]) == []
    changed = plan("OPTIM.LR", "0.5", "TRAINER.TASKRES.RESIDUAL_SCALE", "0.7")
    assert "LR=0.5" in changed.folder.name and "RESIDUAL_SCALE=0.7" in changed.folder.name
    assert str(rate) in optimizer_departures(changed.cfg, registered_methods()["TaskRes"])[0]


@pytest.mark.parametrize(
    ("method", "dataset", "shots", "epochs"),
    [
        ("CoOp", "Digits", 1, 50),
        ("CoOp", "Digits", 4, 100),
        ("CoOp", "Digits", 16, 200),
        ("CoOp", "ImageNet", 16, 50),
        ("CLAP", "ImageNet", 1, 300),
        ("TaskRes", "ImageNet", 4, 100),
        ("TaskRes", "OxfordPets", 8, 200),
        ("VTCLIP", "OxfordPets", 2, 100),
        ("VTCLIP", "OxfordPets", -1, 200),
        ("TipAdapterF", "EuroSAT", 2, 100),
        ("TipAdapterF", "DescribableTextures", 2, 20),
    ],
)
def test_epochs_by_dataset_and_shots(method: str, dataset: str, shots: int, epochs: int) -> None:
    assert registered_methods()[method].protocol_epochs(dataset, shots) == epochs


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
