"""What is refused leaves no trace: neither a folder, nor an empty log, nor an empty parent."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.run_folder import LOCK, claimed

from .conftest import ROOT

DATASETS = ROOT / "configs" / "datasets"
SHORT = ("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1", "FEATURES.VIEWS", "1")
PHOTOS = ("--dataset-config-file", str(DATASETS / "image_folder.yaml"))
PETS = ("--dataset-config-file", str(DATASETS / "oxford_pets.yaml"))
BANK = ("--dataset-config-file", str(DATASETS / "feature_bank.yaml"))

REFUSED = {
    "trainer": ["--trainer", "VTCLI"],
    "plug-in": ["--plugin", "no_such_module"],
    "key": ["OPTIM.LRR", "1"],
    "type": ["OPTIM.MAX_EPOCH", "many"],
    "choice": ["TRAINER.VTCLIP.NORM", "pos"],
    "heads": ["TRAINER.VTCLIP.N_HEADS", "7"],
    "shots": ["--shots", "0"],
    "seed": ["--seed", "-3"],
    "dataset": ["DATASET.NAME", "Digit"],
    "configuration": ["--config-file", "nowhere.yaml"],
    "backbone": ["--backbone", "RN51"],
    "no file of weights": ["--backbone", "no/such/file.pt"],
    "bad file of weights": ["--backbone", "bad.pt"],
    "image size": ["INPUT.SIZE", "(32, 32)"],
    "no data root": [*PHOTOS, "--root", "no/photos"],
    "no data of a dataset": [*PETS, "--root", "no/data", "DATASET.DOWNLOAD", "False"],
    "no bank": [*BANK, "DATASET.FEATURE_BANK", "no/bank.npz"],
    "resume": ["--resume", "nowhere"],
    "resume a folder without a run": ["--resume", "."],
    "evaluation of nothing": ["--eval-only"],
    "evaluation of a missing folder": ["--eval-only", "--model-dir", "nowhere"],
    "evaluation of an empty folder": ["--eval-only", "--model-dir", "."],
    "epoch": ["--eval-only", "--model-dir", ".", "--load-epoch", "3"],
    "transfer": ["--trainer", "TipAdapter", "TRAINER.TRANSFER", "True"],
    "precision": ["FEATURES.PRECISION", "int4"],
    "rate": ["OPTIM.LR", "1e30", "OPTIM.NAME", "sgd", "OPTIM.WARMUP_EPOCH", "-1",
             "OPTIM.MAX_EPOCH", "3"],
}  # fmt: skip


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_run_leaves_nothing(
    case: str, several: bool, run_train, tmp_path: Path, monkeypatch, capfd
) -> None:
    if several and case == "seed":
        pytest.skip("--seed and --seeds exclude each other")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    arguments = REFUSED[case]
    options = [] if {"--shots", "OPTIM.MAX_EPOCH"} & set(arguments) else SHORT
    named = [] if case.startswith("resume") else ["--output-dir", "above/output/run"]
    seeds = ["--seeds", "1-2"] if several else []
    assert run_train(*named, *seeds, *arguments, *options) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["bad.pt"]


@pytest.mark.parametrize("trainer", ["VTCLIP", "TipAdapter", "ZeroshotCLIP"])
@pytest.mark.parametrize("gone", ["all", "train"])
def test_missing_images_leave_nothing(
    gone: str, trainer: str, run_train, tmp_path: Path, digits_root: Path, capfd
) -> None:
    root = tmp_path / "data"
    shutil.copytree(digits_root / "digits", root / "digits")
    images = sorted((root / "digits").rglob("*.png"))
    for path in images if gone == "all" else images[::2]:
        path.unlink()
    run = tmp_path / "output" / "run"
    arguments = ("--root", str(root), "--output-dir", str(run), "--trainer", trainer)
    assert run_train(*arguments, *SHORT, "FEATURES.CACHE", "False") == 2
    assert sum(line.startswith("error:") for line in capfd.readouterr().err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_was_there_stays(run_train, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "log.txt").write_text("of an earlier run")
    missing = ("--eval-only", "--model-dir", str(tmp_path / "nowhere"))
    assert run_train("--output-dir", str(tmp_path), *missing) == 2
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "notes.txt": "mine", "log.txt": "of an earlier run",
    }  # fmt: skip


def test_a_second_seed_that_is_refused_takes_nothing_of_the_first(
    run_train, tmp_path: Path, monkeypatch
) -> None:
    from trainers.vtclip import VTCLIP

    before_train = VTCLIP.before_train

    def refuse(trainer: VTCLIP) -> None:
        before_train(trainer)
        if trainer.cfg.SEED == 2:
            raise UserError("seed 2: refused.")

    monkeypatch.setattr(VTCLIP, "before_train", refuse)
    assert run_train("--seeds", "1-2", "--output-dir", str(tmp_path / "runs"), *SHORT) == 2
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["seed1"]
    assert (tmp_path / "runs" / "seed1" / "result.json").is_file()


def test_weights_and_scores_stay(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UserError), claimed(run):
        (run / "log.txt").write_text("an hour of training")
        (run / "head").mkdir()
        (run / "head" / "model.pth.tar-1").write_bytes(b"weights")
        raise UserError("OPTIM.LR: the loss is nan.")
    assert (run / "log.txt").is_file()
    # of a run that goes on from there
    with pytest.raises(UserError), claimed(run):
        (run / "log.txt-2").write_text("refused")
        raise UserError("--resume: other settings.")
    assert {path.name for path in run.iterdir()} == {"log.txt", "head", LOCK}


def test_other_errors_leave_what_there_is(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt), claimed(run):
        (run / "log.txt").write_text("interrupted")
        raise KeyboardInterrupt
    assert (run / "log.txt").is_file()


def test_the_run_of_another_process_is_not_touched(tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = (
        "import sys, pathlib; from vtclip.run_folder import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process runs here"), claimed(run):
            pass
        assert [path.name for path in run.iterdir()] == [LOCK]
        other.communicate("")
