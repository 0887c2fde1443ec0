"""train.py: what a run leaves behind, that runs repeat and resume, and bad input."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from vtclip import checkpoints
from vtclip.errors import UserError
from vtclip.evaluation import check_finite
from vtclip.results import read_result

from .conftest import ROOT

SHORT = ("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "3", "FEATURES.VIEWS", "2")


def head_of(folder: Path, epoch: int = 3) -> dict[str, torch.Tensor]:
    return checkpoints.load(folder / "head" / f"model.pth.tar-{epoch}")["state_dict"]


def test_a_run_leaves_everything_behind(run_train, tmp_path: Path) -> None:
    assert run_train("--trainer", "VTCLIP", "--output-dir", str(tmp_path), *SHORT) == 0
    result = read_result(tmp_path / "result.json")
    assert (result.trainer, result.dataset, result.shots, result.seed) == ("VTCLIP", "Digits", 1, 1)
    assert result.total == 719
    assert result.accuracy == pytest.approx(100 * result.correct / 719)
    assert result.templates == ["a photo of the number {}."]
    assert result.selected_on == "last epoch"
    assert result.epochs == 3
    assert result.seconds["total"] > 0
    assert result.peak_memory_mib > 0
    assert {"python", "torch", "vtclip", "dassl"} <= result.versions.keys()
    log = (tmp_path / "log.txt").read_text()
    assert "Finish training" in log
    assert "=> result" in log
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["OPTIM"]["MAX_EPOCH"] == 3
    lists = json.loads((tmp_path / "few_shot_list.json").read_text())
    assert len(lists["train"]) == 10
    assert lists["digest"]["train"] == result.list_digest["train"]
    assert not Path(lists["train"][0][0]).is_absolute()
    assert list(tmp_path.glob("tensorboard/events*"))
    checkpoint = tmp_path / "head" / "model.pth.tar-3"
    assert checkpoint.stat().st_size < 2e6
    assert sum(p.numel() for p in head_of(tmp_path).values()) == result.trainable_parameters
    assert not (tmp_path / "head" / checkpoints.UNFINISHED).exists()


@pytest.mark.parametrize("views", ["0", "2"])
def test_two_runs_of_one_seed_are_the_same(run_train, tmp_path: Path, views: str) -> None:
    for name in "ab":
        folder = str(tmp_path / name)
        assert run_train("--output-dir", folder, *SHORT, "FEATURES.VIEWS", views) == 0
    first, second = (head_of(tmp_path / name) for name in "ab")
    assert all(first[key].equal(second[key]) for key in first)
    results = [read_result(tmp_path / name / "result.json") for name in "ab"]
    assert results[0].accuracy == results[1].accuracy
    assert results[0].config_digest == results[1].config_digest


def test_another_seed_is_another_run(run_train, tmp_path: Path) -> None:
    for seed in ("0", "123456"):
        folder = str(tmp_path / seed)
        assert run_train("--output-dir", folder, "--seed", seed, *SHORT) == 0
    results = [read_result(tmp_path / seed / "result.json") for seed in ("0", "123456")]
    assert [r.seed for r in results] == [0, 123456]
    assert results[0].list_digest != results[1].list_digest
    assert results[0].config_digest == results[1].config_digest


def test_a_killed_run_resumes_to_the_numbers_of_an_unbroken_one(
    run_train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.vtclip import VTCLIP

    options = (*SHORT, "OPTIM.MAX_EPOCH", "6", "FEATURES.VIEWS", "0")
    assert run_train("--output-dir", str(tmp_path / "whole"), *options) == 0

    class Killed(BaseException):
        pass

    after_epoch = VTCLIP.after_epoch

    def die_in_the_middle(trainer: VTCLIP) -> None:
        after_epoch(trainer)
        if trainer.epoch == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(VTCLIP, "after_epoch", die_in_the_middle)
        with pytest.raises(Killed):
            run_train(
                "--output-dir", str(tmp_path / "broken"), *options, "TRAIN.CHECKPOINT_FREQ", "3"
            )
    assert not (tmp_path / "broken" / "result.json").exists()

    assert run_train("--output-dir", str(tmp_path / "broken"), *options) == 0
    assert "(epoch=3)" in (tmp_path / "broken" / "log.txt").read_text() or any(
        "(epoch=3)" in log.read_text() for log in (tmp_path / "broken").glob("log.txt-*")
    )
    whole, resumed = (head_of(tmp_path / name, 6) for name in ("whole", "broken"))
    assert all(whole[key].equal(resumed[key]) for key in whole)
    results = [read_result(tmp_path / name / "result.json") for name in ("whole", "broken")]
    assert results[0].accuracy == results[1].accuracy


def test_evaluation_repeats_the_accuracy(run_train, tmp_path: Path) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    assert run_train("--output-dir", str(run), *SHORT) == 0
    evaluate = ("--eval-only", "--model-dir", str(run), "--output-dir", str(again), *SHORT)
    assert run_train(*evaluate) == 0
    assert run_train(*evaluate, "--load-epoch", "3") == 2  # options come last, as in CoOp
    first, second = (read_result(folder / "result.json") for folder in (run, again))
    assert first.accuracy == second.accuracy
    assert second.evaluated == str(run.absolute())


def test_best_on_validation_is_said_so(run_train, tmp_path: Path) -> None:
    assert run_train("--output-dir", str(tmp_path), *SHORT, "TEST.FINAL_MODEL", "best_val") == 0
    assert read_result(tmp_path / "result.json").selected_on == "val"
    assert (tmp_path / "head" / "model-best.pth.tar").is_file()


def test_the_cache_goes_where_it_is_told_and_changes_nothing(run_train, tmp_path: Path) -> None:
    cache = tmp_path / "my cache"
    options = {"own": ("FEATURES.ROOT", str(cache)), "none": ("FEATURES.CACHE", "False")}
    for name, option in options.items():
        assert run_train("--output-dir", str(tmp_path / name), *SHORT, *option) == 0
    assert list(cache.rglob("*.safetensors"))
    own, none = (head_of(tmp_path / name) for name in options)
    assert all(own[key].equal(none[key]) for key in own)
    digests = {read_result(tmp_path / name / "result.json").config_digest for name in options}
    assert len(digests) == 1


def test_step_zero_is_zero_shot(run_train, tmp_path: Path) -> None:
    options = (*SHORT, "OPTIM.MAX_EPOCH", "0")
    assert run_train("--output-dir", str(tmp_path), *options) == 0
    result = read_result(tmp_path / "result.json")
    assert result.accuracy == pytest.approx(result.zero_shot_accuracy, abs=1e-9)


PLUGIN = """
from dassl.engine import TRAINER_REGISTRY
from torch.nn import functional as F
from vtclip.engine import FrozenCLIPTrainer

@TRAINER_REGISTRY.register(force=True)
class Cosine(FrozenCLIPTrainer):
    def logits(self, features):
        return F.normalize(features.global_features, dim=-1) @ self.text_features.T
"""


def test_a_plug_in_registers_a_trainer(run_train, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "cosine_plugin.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    arguments = ("--plugin", "cosine_plugin", "--trainer", "Cosine")
    assert run_train(*arguments, "--output-dir", str(tmp_path / "run")) == 0
    result = read_result(tmp_path / "run" / "result.json")
    assert result.accuracy == result.zero_shot_accuracy


def test_a_plug_in_may_be_a_file_of_another_folder(run_train, tmp_path: Path) -> None:
    (tmp_path / "plug-ins").mkdir()
    path = tmp_path / "plug-ins" / "cosine_in_a_file.py"
    path.write_text(PLUGIN.replace("Cosine", "CosineInAFile"))
    arguments = ("--plugin", str(path), "--trainer", "CosineInAFile", "--dry-run")
    assert run_train(*arguments, "--output-dir", str(tmp_path / "run")) == 0
    assert sys.modules["cosine_in_a_file"].__file__ == str(path)
    # a second time, as in one process of many runs, it is not registered again
    assert run_train(*arguments, "--output-dir", str(tmp_path / "run")) == 0


@pytest.mark.parametrize("name", ["json.py", "my-plugin.py"])
def test_a_file_whose_name_no_module_can_have_is_refused(
    name: str, run_train, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(PLUGIN)
    assert run_train("--plugin", str(tmp_path / name), "--dry-run") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(f"{name}: {Path(name).stem} is not free as a module name; rename it.")


# ---- bad input: one line, exit code 2

BAD_ARGUMENTS = {
    "trainer": (["--trainer", "VTCLI"], "did you mean VTCLIP"),
    "two trainers": (
        ["--trainer", "VTCLIP", "TRAINER.NAME", "TaskRes"],
        "TRAINER.NAME: 'TaskRes', but --trainer names 'VTCLIP'",
    ),
    "two seeds": (["--seed", "3", "SEED", "5"], "SEED: '5', but --seed names '3'"),
    "two folders": (["OUTPUT_DIR", "elsewhere"], "OUTPUT_DIR: 'elsewhere', but --output-dir names"),
    "backbone": (["MODEL.BACKBONE.NAME", "RN51"], "did you mean RN50"),
    "backbone without a file": (["--backbone", "RN51"], "did you mean RN50"),
    "weights": (["MODEL.BACKBONE.NAME", "no/such/file.pt"], "no/such/file.pt"),
    "dataset": (["DATASET.NAME", "Digit"], "did you mean Digits"),
    "key": (["OPTIM.LRR", "1"], "did you mean OPTIM.LR"),
    "type": (["OPTIM.MAX_EPOCH", "many"], "OPTIM.MAX_EPOCH: 'many'"),
    "pair": (["OPTIM.MAX_EPOCH"], "OPTIM.MAX_EPOCH: has no value"),
    "choice": (["TRAINER.VTCLIP.NORM", "pos"], "did you mean post"),
    "range": (["TRAINER.VTCLIP.N_LAYERS", "0"], "TRAINER.VTCLIP.N_LAYERS: 0"),
    "heads": (["TRAINER.VTCLIP.N_HEADS", "7"], "7 does not divide 128"),
    "global token": (
        ["TRAINER.VTCLIP.INCLUDE_GLOBAL", "True", "TRAINER.VTCLIP.VISUAL_TOKENS", "backbone"],
        "INCLUDE_GLOBAL",
    ),
    "image size": (["INPUT.SIZE", "(32, 32)"], "INPUT.SIZE: (32, 32)"),
    "template": (["DATASET.TEMPLATE", "no place"], "DATASET.TEMPLATE"),
    "config file": (["--config-file", "nowhere.yaml"], "nowhere.yaml: no such"),
    "plug-in": (["--plugin", "no_such_module"], "--plugin no_such_module"),
    "plug-in file": (["--plugin", "no_such.py"], "--plugin no_such.py: no such file"),
    "model folder": (["--eval-only", "--model-dir", "nowhere"], "nowhere/head: no checkpoint"),
    "no model folder": (["--eval-only"], "nothing is trained there yet"),
    "resume": (["--resume", "nowhere"], "nothing to resume"),
    "scheduler": (["OPTIM.LR_SCHEDULER", "cosin"], "did you mean cosine"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_one_line(
    case: str, run_train, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, expected = BAD_ARGUMENTS[case]
    assert run_train("--output-dir", str(tmp_path / "out"), *arguments) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert expected in errors[0]
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize("views", ["0", "2"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "no image"])
def test_a_bad_image_is_one_line(
    damage: str, views: str, run_train, tmp_path: Path, capfd, digits_root: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(digits_root / "digits", root / "digits")
    arguments = ("--root", str(root), "--output-dir", str(tmp_path / "run"), *SHORT)
    assert run_train(*arguments, "FEATURES.VIEWS", views) == 0
    lists = json.loads((tmp_path / "run" / "few_shot_list.json").read_text())
    image = root / lists["train"][0][0]
    if damage == "missing":
        image.unlink()
    else:
        image.write_bytes(image.read_bytes()[:40] if damage == "truncated" else b"words")
    (tmp_path / "run" / "result.json").unlink()
    capfd.readouterr()
    assert run_train(*arguments, "FEATURES.VIEWS", views) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert image.name in errors[0]
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_loss_that_is_not_finite_names_the_rate(run_train, tmp_path: Path, capfd) -> None:
    options = ("OPTIM.LR", "1e30", "OPTIM.NAME", "sgd", "OPTIM.WARMUP_EPOCH", "-1")
    assert run_train("--output-dir", str(tmp_path), *SHORT, *options) == 2
    assert "error: OPTIM.LR: the loss is" in capfd.readouterr().err
    assert not (tmp_path / "result.json").exists()


def test_scores_that_are_not_finite_name_the_rate(run_train, tmp_path: Path, capfd) -> None:
    options = ("DATASET.NUM_SHOTS", "4", "OPTIM.MAX_EPOCH", "2", "FEATURES.VIEWS", "1")
    assert run_train("--output-dir", str(tmp_path), *options, "OPTIM.LR", "1e6") == 2
    warning, error = capfd.readouterr().err.splitlines()
    assert "OPTIM.LR 1e+06 is high for D 128" in warning
    assert re.fullmatch(
        r"error: VTCLIP: its trained weights have grown to \d\.\de\+\d\d, so its scores are not "
        r"finite; train with an OPTIM\.LR below 1000000\.0\.",
        error,
    )
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (math.nan, "its trained weights are not finite, so neither are its scores"),
        (1.1e4, r"its trained weights have grown to 1\.1e\+04, so its scores are not finite"),
        (9.9e3, r"its scores are not finite, though its weights are; check TRAINER\.X and"),
    ],
)
@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_no_predictions(
    score: float, weight: float, said: str
) -> None:
    head = torch.nn.Linear(2, 1)
    trainer: Any = SimpleNamespace(
        cfg=SimpleNamespace(TRAINER=SimpleNamespace(NAME="X"), OPTIM=SimpleNamespace(LR=1.0)),
        head=head,
        fitted={},
        option_node=lambda: "X",
    )
    check_finite(trainer, torch.tensor([[1.0, 2.0], [1e30, -1.0]]))
    with torch.no_grad():
        head.weight[0, 1] = weight
    with pytest.raises(UserError, match=said):
        check_finite(trainer, torch.tensor([[1.0, 2.0], [score, -1.0]]))


def test_an_output_folder_that_cannot_be_written(run_train, tmp_path: Path, capfd) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run_train("--output-dir", str(tmp_path / "file" / "run")) == 2
    assert "cannot be written" in capfd.readouterr().err


def test_a_checkpoint_of_another_run_is_refused(run_train, tmp_path: Path, capfd) -> None:
    run = tmp_path / "run"
    assert run_train("--output-dir", str(run), *SHORT) == 0
    path = run / "head" / "model.pth.tar-3"
    evaluate = ("--eval-only", "--model-dir", str(run), "--output-dir", str(tmp_path / "again"))

    fewer_classes = ("DATASET.SUBSAMPLE_CLASSES", "base")
    assert run_train(*evaluate, *SHORT, *fewer_classes) == 2
    assert "of another class list" in capfd.readouterr().err
    assert run_train(*evaluate, *SHORT, *fewer_classes, "TRAINER.TRANSFER", "True") == 0

    assert run_train(*evaluate, *SHORT, "TRAINER.VTCLIP.FFN_RATIO", "2.0") == 2
    assert "does not fit TRAINER.VTCLIP" in capfd.readouterr().err

    content = checkpoints.load(path)
    content["origin"]["backbone"] = "RN50 (0123)"
    checkpoints.save(content, path)
    assert run_train(*evaluate, *SHORT) == 2
    assert "of another backbone: RN50 (0123)" in capfd.readouterr().err

    path.write_bytes(path.read_bytes()[:1000])
    assert run_train(*evaluate, *SHORT) == 2
    assert "truncated" in capfd.readouterr().err


def test_resuming_with_another_configuration_names_the_key(
    run_train, tmp_path: Path, capfd, monkeypatch
) -> None:
    from trainers.vtclip import VTCLIP

    def stop(trainer: VTCLIP) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(VTCLIP, "after_train", stop)
        assert run_train("--output-dir", str(tmp_path), *SHORT, "TRAIN.CHECKPOINT_FREQ", "1") == 130
    assert run_train("--resume", str(tmp_path), *SHORT, "OPTIM.LR", "0.5") == 2
    assert "OPTIM.LR" in capfd.readouterr().err
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["OPTIM"]["LR"] != 0.5


@pytest.mark.parametrize("damage", ["cut short", "other optimizer", "other head"])
def test_a_damaged_state_is_set_aside_and_refused_where_it_is_named(
    damage: str, run_train, tmp_path: Path, capsys, monkeypatch
) -> None:
    from trainers.vtclip import VTCLIP

    def stop(trainer: VTCLIP) -> None:
        if trainer.epoch == 2:
            raise KeyboardInterrupt

    run = ("--output-dir", str(tmp_path), *SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(VTCLIP, "before_epoch", stop)
        assert run_train(*run, "TRAIN.CHECKPOINT_FREQ", "1") == 130
    path = tmp_path / "head" / checkpoints.UNFINISHED
    content = checkpoints.load(path)
    if damage == "other optimizer":
        content["optimizer"]["state"][0] = {}
    elif damage == "other head":
        del content["state_dict"][min(content["state_dict"])]
    checkpoints.save(content, path)
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:1000])
    # one of an epoch too: nobody can tell of which run it is
    (tmp_path / "head" / "model.pth.tar-1").write_bytes(b"")
    damaged = path.read_bytes()
    capsys.readouterr()

    assert run_train("--resume", str(tmp_path), *SHORT) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: ")
    assert len(error.splitlines()) == 1
    assert path.read_bytes() == damaged

    assert run_train(*run) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "set aside" in line]
    assert [line.split(": ")[0] for line in said] == [
        str(path),
        str(path.parent / "model.pth.tar-1"),
    ]
    assert all(line.endswith(", and the run begins anew.") for line in said)
    kept = path.with_name(f"{path.name}.set-aside-1")
    assert kept.read_bytes() == damaged
    assert not path.exists()
    assert read_result(tmp_path / "result.json").epochs == 3
    # what is set aside is in nobody's way
    (tmp_path / "result.json").unlink()
    assert run_train(*run) == 0
    assert kept.read_bytes() == damaged


def test_a_state_of_another_run_is_not_set_aside(run_train, tmp_path: Path, monkeypatch) -> None:
    from trainers.vtclip import VTCLIP

    with monkeypatch.context() as patch:
        patch.setattr(VTCLIP, "after_train", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        run = ("--output-dir", str(tmp_path), *SHORT, "TRAIN.CHECKPOINT_FREQ", "1")
        assert run_train(*run) == 130
    assert run_train(*run, "OPTIM.LR", "0.5") == 2
    assert (tmp_path / "head" / checkpoints.UNFINISHED).is_file()
    assert run_train(*run) == 0


def test_without_val_nothing_is_selected_on_test(run_train, tmp_path: Path, capfd) -> None:
    # a folder of photos without validation images
    for number in range(8):
        folder = tmp_path / "photos" / "train" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (30 * number, 0, 0)).save(folder / f"{number}.png")
    shutil.copytree(tmp_path / "photos" / "train", tmp_path / "photos" / "test")
    dataset = str(ROOT / "configs" / "datasets" / "image_folder.yaml")
    arguments = ("--root", str(tmp_path / "photos"), "--dataset-config-file", dataset)
    run = ("--output-dir", str(tmp_path / "run"), "OPTIM.MAX_EPOCH", "1")
    for option in (("TEST.FINAL_MODEL", "best_val"), ("TEST.SPLIT", "val")):
        assert run_train(*arguments, *run, *option) == 2
        assert "has no val images" in capfd.readouterr().err
    assert run_train(*arguments, *run) == 0
    assert read_result(tmp_path / "run" / "result.json").total == 8
