"""The recipe of README "In your CoOp fork", carried out in a checkout laid out like CoOp's."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vtclip.results import read_result

from .conftest import ROOT

# what a fork has: a command line, a dataset of its own, a backbone named in the method's file
TRAIN = """
import argparse
import random
from dassl.config import get_cfg_default
from dassl.engine import build_trainer
from dassl.utils import set_random_seed, setup_logger
import datasets.blobs
import trainers.vtclip


def extend_cfg(cfg):
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    import vtclip.config
    vtclip.config.extend_cfg(cfg)


parser = argparse.ArgumentParser()
for name in ("root", "output-dir", "config-file", "dataset-config-file", "trainer"):
    parser.add_argument("--" + name, default="")
parser.add_argument("opts", nargs=argparse.REMAINDER)
args = parser.parse_args()
cfg = get_cfg_default()
extend_cfg(cfg)
cfg.merge_from_file(args.dataset_config_file)
cfg.merge_from_file(args.config_file)
cfg.DATASET.ROOT, cfg.OUTPUT_DIR, cfg.TRAINER.NAME = args.root, args.output_dir, args.trainer
cfg.merge_from_list(args.opts)
cfg.SEED = 1
cfg.freeze()
set_random_seed(1)
random.getrandbits(24)  # as imports of other packages may
setup_logger(cfg.OUTPUT_DIR)
build_trainer(cfg).train()
"""

DATASET = """
from pathlib import Path
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum


@DATASET_REGISTRY.register()
class Blobs(DatasetBase):
    def __init__(self, cfg):
        root = Path(cfg.DATASET.ROOT).resolve() / "blobs"
        parts = {}
        for part in ("train", "val", "test"):
            parts[part] = [
                Datum(impath=str(path), label=label, classname=name)
                for label, name in enumerate(("red", "blue"))
                for path in sorted((root / part / name).iterdir())
            ]
        train = self.generate_fewshot_dataset(parts["train"], num_shots=cfg.DATASET.NUM_SHOTS)
        super().__init__(train_x=train, val=parts["val"], test=parts["test"])
"""


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """Lay out a fork, and follow the recipe in it."""
    fork = tmp_path / "fork"
    for folder in ("trainers", "datasets", "configs/datasets"):
        (fork / folder).mkdir(parents=True)
    for package in ("trainers", "datasets"):
        (fork / package / "__init__.py").touch()
    (fork / "datasets" / "blobs.py").write_text(DATASET)
    (fork / "configs" / "datasets" / "blobs.yaml").write_text('DATASET:\n  NAME: "Blobs"\n')
    (fork / "train.py").write_text(TRAIN)
    for shade, (part, count) in enumerate((("train", 4), ("val", 2), ("test", 3))):
        for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
            (fork / "data" / "blobs" / part / name).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (50, 40), tuple(c + 3 * number + shade for c in colour))
                image.save(fork / "data" / "blobs" / part / name / f"{number}.png")
    # the recipe
    shutil.copy(ROOT / "trainers" / "vtclip.py", fork / "trainers")
    shutil.copytree(ROOT / "configs" / "trainers" / "VTCLIP", fork / "configs/trainers/VTCLIP")
    return fork


def run(
    fork: Path, *options: str, root: str = "data", ending: str = ""
) -> subprocess.CompletedProcess[str]:
    # installed, vtclip and clip come from site-packages; trainers/ and datasets/ are the fork's
    package = fork.parent / "site"
    package.mkdir(exist_ok=True)
    if not (package / "vtclip").exists():
        (package / "vtclip").symlink_to(ROOT / "vtclip")
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [
        *(sys.executable, "train.py", "--trainer", "VTCLIP", "--root", root),
        *("--dataset-config-file", "configs/datasets/blobs.yaml"),
        *("--config-file", "configs/trainers/VTCLIP/tiny.yaml", "--output-dir", "out"),
        *("DATASET.NUM_SHOTS", "1", *options),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "VTCLIP_CACHE": str(fork / "cache"),
    }
    if ending:
        command = ["bash", "-c", f"set -o pipefail; {shlex.join(command)} {ending}"]
    return subprocess.run(
        command, cwd=fork, env=environment, capture_output=True, text=True, check=False
    )


def test_the_recipe_trains_with_the_methods_own_optimizer(fork: Path) -> None:
    done = run(fork)
    assert done.returncode == 0, done.stderr[-2000:]
    result = read_result(fork / "out" / "result.json")
    assert (result.trainer, result.dataset, result.total) == ("VTCLIP", "Blobs", 6)
    assert result.epochs == 50  # of the protocol at one shot
    assert result.settings["OPTIM.NAME"] == "adamw"
    assert result.settings["OPTIM.LR"] == 0.001
    assert result.settings["INPUT.SIZE"] == [96, 96]
    assert "where the protocol of VTCLIP has" not in done.stdout
    lists = json.loads((fork / "out" / "few_shot_list.json").read_text())
    draw = random.Random(1)
    assert [path for path, _, _ in lists["train"]] == [
        f"blobs/train/{name}/{draw.sample(range(4), 1)[0]}.png" for name in ("red", "blue")
    ]
    assert result.overlap == {"val": 0, "train": 0}


def test_another_optimizer_is_said_in_one_line(fork: Path) -> None:
    done = run(fork, "OPTIM.NAME", "sgd", "OPTIM.MAX_EPOCH", "1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "OPTIM.NAME: sgd, where the protocol of VTCLIP has adamw" in done.stdout


@pytest.mark.parametrize("ending", ["| head -n 1", ">&-", "> /dev/full"])
def test_a_run_ends_as_others_do_whatever_becomes_of_its_output(ending: str, fork: Path) -> None:
    done = run(fork, "OPTIM.MAX_EPOCH", "1", ending=ending)
    full = "error: the output: cannot be written (No space left on device).\n"
    said = [line for line in done.stderr.splitlines(True) if "Warning" not in line]
    assert "Traceback" not in done.stderr
    if "full" in ending:
        assert (done.returncode, said[-1]) == (2, full)
    else:
        assert done.returncode == 0, done.stderr[-2000:]
    assert read_result(fork / "out" / "result.json").epochs == 1
    assert "Finish training" in (fork / "out" / "log.txt").read_text()


SIGNALLED = """
import os
import signal


def before_epoch(trainer):
    if trainer.epoch == 3 and "END_BY" in os.environ:
        os.kill(os.getpid(), int(os.environ["END_BY"]))
    seed_epoch(trainer)


import vtclip.checkpointing
vtclip.checkpointing.LARGEST_SHARE_OF_COPIES = 1e9
seed_epoch = trainers.vtclip.VTCLIP.before_epoch
trainers.vtclip.VTCLIP.before_epoch = before_epoch
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_is_one_line(
    number: signal.Signals, fork: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (fork / "train.py").read_text().replace("\n\n\ndef", f"\n{SIGNALLED}\n\ndef", 1)
    (fork / "train.py").write_text(program)
    with monkeypatch.context() as patch:
        patch.setenv("END_BY", str(int(number)))
        done = run(fork, "OPTIM.MAX_EPOCH", "5")
    assert done.returncode == 128 + number, done.stderr[-2000:]
    assert done.stderr.splitlines()[-1] == (
        f"interrupted ({number.name}): saved after epoch 3 of 5; the same command goes on from "
        "there"
    )
    assert "Traceback" not in done.stderr
    assert not (fork / "out" / "result.json").exists()
    done = run(fork, "OPTIM.MAX_EPOCH", "5")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "(epoch=3)" in done.stdout


@pytest.mark.parametrize("kind", ["symlink", "relative"])
def test_roots_that_are_links_or_relative(fork: Path, kind: str) -> None:
    (fork / "link").symlink_to("data")
    root = "link" if kind == "symlink" else "../fork/data"
    done = run(fork, "OPTIM.MAX_EPOCH", "1", root=root)
    assert done.returncode == 0, done.stderr[-2000:]
    lists = json.loads((fork / "out" / "few_shot_list.json").read_text())
    assert all(path.startswith("blobs/") for path, _, _ in lists["train"])


def test_a_choice_on_val_images_that_are_test_images_is_one_line(fork: Path) -> None:
    blobs = fork / "datasets" / "blobs.py"
    blobs.write_text(blobs.read_text().replace('val=parts["val"]', 'val=parts["test"]'))
    done = run(fork, "OPTIM.MAX_EPOCH", "1", "TEST.FINAL_MODEL", "best_val")
    assert done.returncode == 2
    assert "6 images of val in test too" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (fork / "out" / "result.json").exists()


def test_the_clip_that_is_imported_is_recorded(fork: Path) -> None:
    spec = importlib.util.find_spec("clip")
    assert spec is not None and spec.origin is not None
    package = Path(spec.origin).parent
    shutil.copytree(package, fork / "clip", ignore=shutil.ignore_patterns("__pycache__"))
    with (fork / "clip" / "model.py").open("a") as file:
        file.write("# a fork's own copy\n")
    recorded = []
    for at in (package, fork / "clip"):
        if at == package:
            shutil.move(fork / "clip", fork.parent / "aside")
        else:
            shutil.move(fork.parent / "aside", fork / "clip")
            shutil.rmtree(fork / "out")
        assert run(fork, "OPTIM.MAX_EPOCH", "1").returncode == 0
        recorded.append(read_result(fork / "out" / "result.json").versions["clip"])
        assert recorded[-1].startswith(f"{at} (code ")
    assert recorded[0][-14:] != recorded[1][-14:]
