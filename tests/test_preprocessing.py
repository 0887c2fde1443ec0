"""Images are prepared as the backbone needs them, unless a user sets it otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import train
from vtclip.backbones import build_backbone
from vtclip.backbones.pretrained import TINY_WEIGHTS
from vtclip.config import extend_cfg
from vtclip.errors import UserError
from vtclip.plugins import import_modules
from vtclip.preprocessing import describe_transform, resolve_preprocessing
from vtclip.results import read_result

ZERO_SHOT = ("--trainer", "ZeroshotCLIP")


def test_a_size_that_the_backbone_has_anyway_changes_nothing(run_train, tmp_path: Path) -> None:
    same = ("--backbone", "tiny", "INPUT.SIZE", "(96, 96)")
    assert run_train(*ZERO_SHOT, "--output-dir", str(tmp_path / "a")) == 0
    assert run_train(*ZERO_SHOT, "--output-dir", str(tmp_path / "b"), *same) == 0
    one, other = (read_result(tmp_path / name / "result.json") for name in "ab")
    assert one.correct == other.correct == 499
    assert one.config_digest == other.config_digest


def test_weights_by_file(run_train, tmp_path: Path) -> None:
    file = ("--backbone", str(TINY_WEIGHTS))
    assert run_train(*ZERO_SHOT, "--output-dir", str(tmp_path), *file) == 0
    assert read_result(tmp_path / "result.json").correct == 499


def test_what_a_user_sets_holds_and_is_said(run_train, tmp_path: Path, capsys) -> None:
    # Dassl's own default, and all the same the user's word
    changed = ("INPUT.INTERPOLATION", "bilinear")
    assert run_train(*ZERO_SHOT, "--output-dir", str(tmp_path), *changed) == 0
    printed = capsys.readouterr().out
    assert (
        "INPUT.INTERPOLATION: bilinear as configured, where backbone tiny was made for" in printed
    )
    result = read_result(tmp_path / "result.json")
    assert result.settings["INPUT.INTERPOLATION"] == "bilinear"
    assert result.correct != 499


def test_images_that_are_not_normalised_are_said(run_train, tmp_path: Path, capsys) -> None:
    changed = ("INPUT.TRANSFORMS", "('random_flip',)")
    assert run_train(*ZERO_SHOT, "--output-dir", str(tmp_path), *changed) == 0
    assert "not normalised as backbone tiny needs" in capsys.readouterr().out


@pytest.mark.parametrize("mean", [(0.0, 0.0, 0.0), (0.5, 0.4, 0.3)])
def test_mean_and_size_come_from_the_backbone_in_a_fork_too(mean: tuple[float, ...]) -> None:
    from dassl.config import get_cfg_default

    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.INPUT.TRANSFORMS = ("normalize",)
    cfg.INPUT.PIXEL_STD = [0.3, 0.3, 0.3]
    backbone = build_backbone("tiny")
    backbone.mean = mean  # type: ignore[assignment]
    resolved = resolve_preprocessing(cfg, backbone)
    assert resolved.INPUT.SIZE == (96, 96)
    assert resolved.INPUT.INTERPOLATION == "bicubic"
    assert list(mean) == resolved.INPUT.PIXEL_MEAN
    # set by the fork's file, for it is not Dassl's default
    assert resolved.INPUT.PIXEL_STD == [0.3, 0.3, 0.3]
    cfg.INPUT.SIZE = (32, 32)
    with pytest.raises(UserError, match=r"INPUT.SIZE: \(32, 32\)"):
        resolve_preprocessing(cfg, backbone)


def test_who_set_a_key_does_not_enter_the_key_of_cached_features() -> None:
    from dassl.config import get_cfg_default

    cfg = get_cfg_default()
    extend_cfg(cfg)
    before = describe_transform(cfg, is_train=True)
    cfg.INPUT.SET_BY_USER = ("SIZE",)
    assert describe_transform(cfg, is_train=True) == before
    assert "SET_BY_USER" not in before


def test_one_run_through_every_door(tmp_path: Path) -> None:
    import_modules(["trainers", "datasets"])
    root = Path(train.__file__).parent
    file = str(root / "configs" / "trainers" / "VTCLIP" / "tiny.yaml")
    doors = [("--shots", "2"), ("--shots", "2", "--config-file", file), ("DATASET.NUM_SHOTS", "2")]
    plans = [train.plan_of(train.parse_args(list(door))) for door in doors]
    assert len({plan.folder for plan in plans}) == 1
    from dassl.engine import build_trainer

    from vtclip.protocol import run_settings

    trainers = [build_trainer(plan.run(1, several=False)[0]) for plan in plans]
    assert {trainer.max_epoch for trainer in trainers} == {100}
    settings = [run_settings(trainer.cfg) for trainer in trainers]
    assert settings[0] == settings[1] == settings[2]
    assert torch.equal(trainers[0].text_features, trainers[1].text_features)
