"""The folder of a run: its name, its lock, and the result that it may hold already."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import train
from vtclip.errors import UserError
from vtclip.plugins import import_modules
from vtclip.results import read_result
from vtclip.run_folder import experiment_folder, locked, own_data_label

from .conftest import ROOT

SHORT = ("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1", "FEATURES.VIEWS", "1")
DATASETS = ROOT / "configs" / "datasets"


def folder_of(*argv: str) -> str:
    import_modules(["trainers", "datasets"])
    return train.plan_of(train.parse_args(list(argv))).folder.as_posix()


def test_a_run_of_the_protocol_has_the_plain_name() -> None:
    assert folder_of("--shots", "4") == "output/digits/VTCLIP/tiny_4shots"
    assert folder_of() == "output/digits/VTCLIP/tiny_16shots"
    pets = ("--dataset-config-file", str(DATASETS / "oxford_pets.yaml"), "--shots", "1")
    expected = "output/oxford_pets/VTCLIP/rn50_1shots"
    assert folder_of(*pets, "--backbone", "RN50") == expected
    assert folder_of(*pets, "--backbone", "rn50") == expected
    file = ROOT / "configs" / "trainers" / "VTCLIP" / "rn50.yaml"
    assert folder_of(*pets, "--config-file", str(file)) == expected
    # what only says where and how is no departure
    assert folder_of("--shots", "4", "FEATURES.CACHE", "False") == folder_of("--shots", "4")


def test_a_departure_from_the_protocol_shows_in_the_name() -> None:
    assert folder_of("--shots", "1", "OPTIM.MAX_EPOCH", "4") == (
        "output/digits/VTCLIP/tiny_1shots_OPTIM.MAX_EPOCH=4"
    )
    two = {folder_of("DATASET.TEMPLATE", text) for text in ("a {}.", "b {}.")}
    assert len(two) == 2
    assert all("_changed-" in name for name in two)


TUNED = ROOT / "configs" / "trainers" / "CLIPAdapter" / "tuned.yaml"


def test_a_configuration_that_names_itself_is_named_in_the_folder(tmp_path: Path) -> None:
    pets = ("--dataset-config-file", str(DATASETS / "oxford_pets.yaml"), "--shots", "1")
    common = (*pets, "--backbone", "RN50", "--config-file")
    folder = "output/oxford_pets/CLIPAdapter/rn50_1shots_tuned"
    assert folder_of(*common, str(TUNED)) == folder
    changed = folder_of(*common, str(TUNED), "OPTIM.LR", "0.1")
    assert changed == f"{folder}_OPTIM.LR=0.1"
    own = tmp_path / "own.yaml"
    own.write_text(
        "TRAINER: {NAME: CLIPAdapter, RECIPE: mine}\nINPUT: {RRCROP_SCALE: [0.5, 1.0]}\n"
    )
    assert folder_of(*common, str(own)).endswith("CLIPAdapter/rn50_1shots_mine")
    # the dataset's file comes last, which is no departure from the recipe
    digits = ("--config-file", str(own), "--shots", "1")
    own.write_text("TRAINER: {RECIPE: mine}\nINPUT: {TRANSFORMS: [random_flip, normalize]}\n")
    assert folder_of(*digits) == "output/digits/VTCLIP/tiny_1shots_mine"
    # a name given up again says nothing about what was run
    assert "mine" not in folder_of(*common, str(own), "TRAINER.RECIPE", "")
    assert "_INPUT" in folder_of(*common, str(own), "TRAINER.RECIPE", "")


@pytest.mark.parametrize("name", ["../up", "a b", "x" * 31, "-x"])
def test_a_recipe_has_a_name_that_a_folder_may_have(name: str, run_train, capsys) -> None:
    assert run_train("--dry-run", "TRAINER.RECIPE", name) == 2
    said = capsys.readouterr().err
    assert "TRAINER.RECIPE" in said
    assert len(said.strip().splitlines()) == 1


def test_two_folders_of_photos_are_two_datasets(tmp_path: Path) -> None:
    photos = str(DATASETS / "image_folder.yaml")
    names = {
        folder_of("--dataset-config-file", photos, "--root", str(tmp_path / name / "photos"))
        for name in "ab"
    }
    assert len(names) == 2
    assert all("image_folder-photos-" in name for name in names)
    assert own_data_label("bank", Path("x/my bank.npz")).startswith("bank-my_bank-")


def test_a_long_departure_is_named_by_a_digest() -> None:
    long = {f"OPTIM.KEY{number}": number for number in range(30)}
    name = experiment_folder("dtd", "CoOp", "rn50", 4, long).name
    assert name.startswith("rn50_4shots_changed-")
    assert len(name) < 40


def test_a_finished_result_is_kept(run_train, tmp_path: Path, capsys) -> None:
    arguments = ("--output-dir", str(tmp_path), *SHORT)
    assert run_train(*arguments) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()

    assert run_train(*arguments) == 0
    assert "has a result already" in capsys.readouterr().out
    for change, key in [
        (("OPTIM.MAX_EPOCH", "2"), "OPTIM.MAX_EPOCH"),
        (("TRAINER.VTCLIP.NORM", "pre"), "TRAINER.VTCLIP.NORM"),
        (("INPUT.INTERPOLATION", "bilinear"), "INPUT.INTERPOLATION"),
    ]:
        assert run_train(*arguments, *change) == 2
        assert f"it differs in {key}." in capsys.readouterr().err
    assert run_train("--seed", "2", *arguments) == 2
    said = capsys.readouterr().err
    assert "SEED" in said
    assert "few-shot train list" in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_data_root_is_another_run(run_train, tmp_path: Path, capsys) -> None:
    run = str(tmp_path / "run")
    file = str(DATASETS / "digits.yaml")
    arguments = ("--output-dir", run, "--dataset-config-file", file)
    assert run_train(*arguments, "--root", str(tmp_path / "a"), *SHORT) == 0
    assert run_train(*arguments, "--root", str(tmp_path / "b"), *SHORT) == 2
    assert "it differs in DATASET.ROOT." in capsys.readouterr().err


def test_other_weights_under_one_name_are_another_run(run_train, tmp_path: Path, capsys) -> None:
    run = ("--output-dir", str(tmp_path), *SHORT)
    assert run_train(*run) == 0
    path = tmp_path / "result.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"backbone_fingerprint": "0" * 64}))
    assert run_train(*run) == 2
    assert "it differs in weights of the backbone." in capsys.readouterr().err


HOLD = """
import sys, time
from pathlib import Path
from vtclip.run_folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_per_folder(run_train, tmp_path: Path, capsys) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert run_train("--output-dir", str(tmp_path), *SHORT) == 2
        assert "another process runs here" in capsys.readouterr().err
        assert not (tmp_path / "log.txt").exists()
        other.communicate("")
    with locked(tmp_path), locked(tmp_path):
        # this process may enter twice
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), locked(tmp_path / "file" / "run"):
        pass


def test_several_seeds_are_the_runs_of_single_ones(run_train, tmp_path: Path, capsys) -> None:
    assert run_train("--seeds", "1-2", "--output-dir", str(tmp_path / "several"), *SHORT) == 0
    printed = capsys.readouterr().out
    for seed in ("1", "2"):
        folder = str(tmp_path / f"single{seed}")
        assert run_train("--seed", seed, "--output-dir", folder, *SHORT) == 0
    several = [read_result(tmp_path / "several" / f"seed{s}" / "result.json") for s in (1, 2)]
    single = [read_result(tmp_path / f"single{s}" / "result.json") for s in (1, 2)]
    for one, other in zip(several, single, strict=True):
        assert (one.accuracy, one.macro_f1, one.list_digest, one.config_digest) == (
            other.accuracy, other.macro_f1, other.list_digest, other.config_digest,
        )  # fmt: skip
    assert f"{(several[0].accuracy + several[1].accuracy) / 2:.2f}" in printed
    logs = [(tmp_path / "several" / f"seed{seed}" / "log.txt").read_text() for seed in (1, 2)]
    assert [log.count("Finish training") for log in logs] == [1, 1]


def test_a_run_without_a_seed_says_so(run_train, tmp_path: Path, capsys) -> None:
    options = ("--trainer", "ZeroshotCLIP", *SHORT)
    for seed, said in (("-1", "unseeded, so not to be repeated"), ("0", "seed 0")):
        assert run_train("--output-dir", str(tmp_path / seed), *options, "SEED", seed) == 0
        first = capsys.readouterr().out.splitlines()[0]
        assert first == f"ZeroshotCLIP on Digits, 1 shot, {said}"
    assert run_train("--output-dir", str(tmp_path / "x"), *options, "SEED", "-2") == 2
    assert "SEED: -2 is out of range" in capsys.readouterr().err


def test_an_older_best_epoch_does_not_stand_in_for_the_last(run_train, tmp_path: Path) -> None:
    from vtclip import checkpoints

    run = tmp_path / "run"
    assert run_train("--output-dir", str(run), *SHORT) == 0
    stale = checkpoints.load(run / "head" / "model.pth.tar-1")
    stale["settings"] = stale["settings"] | {"TEST.FINAL_MODEL": "'best_val'"}
    checkpoints.save(stale, run / "head" / checkpoints.BEST)
    assert checkpoints.find(run / "head", None).name == "model.pth.tar-1"


def test_checkpoints_of_another_run_are_neither_used_nor_removed(
    run_train, tmp_path: Path, capsys
) -> None:
    run = ("--output-dir", str(tmp_path), *SHORT)
    assert run_train(*run) == 0
    (tmp_path / "result.json").unlink()
    assert run_train(*run, "OPTIM.LR", "0.5") == 2
    assert "of another OPTIM.LR" in capsys.readouterr().err
    assert (tmp_path / "head" / "model.pth.tar-1").is_file()
    assert run_train(*run) == 0


# of this version and of earlier ones, by the folder that they are in
LEFT_BEHIND = [
    ".result.json.k2_9xw1a.tmp",
    ".result.json.k2_9xw1a",
    ".few_shot_list.json.abcdefgh",
    ".predictions.csv.abcdefgh.tmp",
    "head/.model.pth.tar-3.x8k2m4p1",
    "head/.model.pth.tar-3.x8k2m4p1.tmp",
    "head/.model-best.pth.tar.abc",
    "head/.model-best.abc",
    "head/.unfinished.pth.tar.x8k2m4p1.tmp",
    "head/.checkpoint.x8k2m4p1.tmp",
    "fitted/.model.pth.tar-0.x8k2m4p1.tmp",
]
OTHERS = [".mine", ".notes.template", "head/.gitignore", "x.tmp", "seed7/.result.json.abcdefgh.tmp"]


def leave_behind(folder: Path) -> None:
    for name in (*LEFT_BEHIND, *OTHERS, "seed7/.run.lock"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")


def test_what_a_kill_left_is_removed_in_every_way_of_starting(run_train, tmp_path: Path) -> None:
    from trainers.vtclip import VTCLIP

    run = tmp_path / "run"
    arguments = ("--output-dir", str(run), *SHORT, "OPTIM.MAX_EPOCH", "2")
    evaluation = ("--eval-only", "--model-dir", str(run), "--output-dir", str(tmp_path / "again"))

    def stop(trainer: VTCLIP) -> None:
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    ways = {
        "fresh": (arguments, 130),
        "resumed": (("--resume", str(run), *arguments), 0),
        "finished": (arguments, 0),
        "refused": ((*arguments, "OPTIM.LR", "0.5"), 2),
        "evaluated": ((*evaluation, *SHORT, "OPTIM.MAX_EPOCH", "2"), 0),
    }
    for way, (argv, code) in ways.items():
        folder = tmp_path / "again" if way == "evaluated" else run
        leave_behind(folder)
        with pytest.MonkeyPatch.context() as patch:
            if way == "fresh":
                patch.setattr(VTCLIP, "before_epoch", stop)
            assert run_train(*argv) == code, way
        assert not [name for name in LEFT_BEHIND if (folder / name).exists()], way
        # what another run or a user has there stays
        assert all((folder / name).exists() for name in OTHERS), way


def test_a_written_file_never_has_the_name_of_one_that_is_left_behind(tmp_path: Path) -> None:
    from vtclip.files import atomic_path
    from vtclip.run_folder import UNFINISHED_NAME

    with atomic_path(tmp_path / "any name") as temporary:
        assert UNFINISHED_NAME.fullmatch(temporary.name)
    assert not UNFINISHED_NAME.fullmatch("any name")
    assert not UNFINISHED_NAME.fullmatch(".run.lock")
