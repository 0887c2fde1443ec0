"""The facts of every method, the five configurations of VT-CLIP, and BASE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dassl.config import get_cfg_default
from yacs.config import CfgNode

import parse_test_res
import trainers
from vtclip import config
from vtclip.config import flatten
from vtclip.config.check import domains
from vtclip.errors import UserError
from vtclip.method import registered_methods
from vtclip.plugins import import_modules
from vtclip.protocol import (
    differing_keys,
    optimizer_departures,
    protocol_values,
    run_settings,
)
from vtclip.results import read_result
from vtclip.run_config import RunArguments, RunPlan, plan_run, recipe_file

from ..conftest import ROOT, RunTrain

CONFIGS = ROOT / "configs"
BACKBONES = {
    "tiny": "tiny",
    "rn50": "RN50",
    "rn101": "RN101",
    "vit_b32": "ViT-B/32",
    "vit_b16": "ViT-B/16",
}
import_modules(["datasets"])
METHODS = sorted(registered_methods())
# what the tuned recipe of CLIPAdapter sets
TUNED = {
    "OPTIM.LR": 3e-4,
    "OPTIM.MAX_EPOCH": 50,
    "OPTIM.NAME": "adamw",
    "TRAINER.CLIPADAPTER.SEARCH_RATIO": True,
    "TRAINER.RECIPE": "tuned",
}


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
    methods = {"VTCLIP", "VTCLIPPlus", "CLIPAdapter"}
    assert folders == {"datasets", "trainers", *(f"trainers/{name}" for name in methods)}
    found = {
        name: {path.stem for path in (CONFIGS / "trainers" / name).iterdir()} for name in methods
    }
    assert found == {
        "VTCLIP": {*BACKBONES, "fast", "fast-wide"},
        "VTCLIPPlus": {"fast", "fast-wide"},
        "CLIPAdapter": {"tuned"},
    }
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


def test_a_recipe_sets_what_its_file_says_and_names_the_folder() -> None:
    def plan(recipe: str) -> RunPlan:
        file = recipe_file(recipe, "CLIPAdapter", CONFIGS) if recipe else ""
        return plan_run(RunArguments(trainer="CLIPAdapter", method_file=file, shots=4), CONFIGS)

    published, tuned = plan(""), plan("tuned")
    assert differing_keys(run_settings(published.cfg), run_settings(tuned.cfg)) == [*TUNED]
    assert {key: flatten(tuned.cfg)[key] for key in TUNED} == TUNED
    assert tuned.folder.as_posix() == "output/digits/CLIPAdapter/tiny_4shots_tuned"


@pytest.mark.parametrize("method", ["VTCLIP", "VTCLIPPlus"])
def test_the_fast_recipes_depart_in_their_schedule_alone(method: str) -> None:
    def settings(recipe: str) -> dict[str, Any]:
        file = recipe_file(recipe, method, CONFIGS) if recipe else ""
        return run_settings(
            plan_run(RunArguments(trainer=method, method_file=file, shots=16), CONFIGS).cfg
        )

    paper, fast, wide = settings(""), settings("fast"), settings("fast-wide")
    changed = ["OPTIM.LR", "OPTIM.MAX_EPOCH", "OPTIM.WARMUP_EPOCH", "TRAINER.RECIPE"]
    assert differing_keys(paper, fast) == changed
    assert [fast[key] for key in changed] == [3e-3, 20, -1, "fast"]
    assert differing_keys(fast, wide) == ["OPTIM.LR", "TRAINER.RECIPE"]
    assert [wide[key] for key in changed] == [1e-3, 20, -1, "fast-wide"]


def test_a_recipe_that_is_not_there_is_refused(run_train: RunTrain, capsys: Any) -> None:
    adapter = ("--trainer", "CLIPAdapter")
    assert run_train(*adapter, "--recipe", "tune") == 2
    assert "--recipe: unknown name 'tune'; did you mean tuned?" in capsys.readouterr().err
    # the configuration of a backbone is no recipe
    assert run_train("--recipe", "rn50") == 2
    assert "Known: fast, fast-wide." in capsys.readouterr().err
    assert run_train("--trainer", "VTCLP", "--recipe", "tuned") == 2
    assert "--trainer: unknown name 'VTCLP'; did you mean VTCLIP?" in capsys.readouterr().err


def test_in_a_table_a_recipe_is_a_row_of_its_own(
    run_train: RunTrain, tmp_path: Path, capsys: Any
) -> None:
    for name in ("", "tuned"):
        folder = tmp_path / name / "seed1"
        recipe = ("--recipe", name) if name else ()
        run = ("--trainer", "CLIPAdapter", "--output-dir", str(folder), *recipe)
        short = ("DATASET.NUM_SHOTS", "1", "FEATURES.VIEWS", "1")
        assert run_train(*run, *short) == 0
        method = read_result(folder / "result.json").method
        assert method == ("CLIPAdapter (tuned)" if name else "CLIPAdapter")
    capsys.readouterr()
    parse_test_res.main([str(tmp_path), "--table"])
    rows = capsys.readouterr().out.splitlines()
    assert sorted(row.split("  ")[0] for row in rows if row.startswith("CLIP-")) == [
        "CLIP-Adapter",
        "CLIP-Adapter (tuned)",
    ]


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
