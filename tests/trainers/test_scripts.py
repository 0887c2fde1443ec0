"""The run scripts: what they call, in which order, and how they refuse and stop."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import ROOT

SCRIPTS = ROOT / "scripts"
Run = Callable[..., "subprocess.CompletedProcess[str]"]

# stands in for python: notes its arguments, names a folder for a dry run, fails where it is told to
RECORDER = """#!/usr/bin/env bash
echo "$*" >> calls.txt
[[ "$*" == *"${FAIL:-nothing fails}"* ]] && exit 7
[[ "$*" == *--dry-run* ]] && echo output/digits/VTCLIP/tiny_4shots
exit 0
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    python = tmp_path / "python"
    python.write_text(RECORDER)
    python.chmod(0o755)

    def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SCRIPTS / script), *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHON": str(python), "DATA": "here", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def calls(folder: Path) -> list[str]:
    return (folder / "calls.txt").read_text().replace(f"{ROOT}/", "").splitlines()


def option(call: str, name: str) -> str:
    words = call.split()
    return words[words.index(name) + 1] if name in words else ""


def test_run_and_main_are_the_same_call(run: Run, tmp_path: Path) -> None:
    rest = ("digits", "16", "rn50", "OPTIM.LR", "0.1")
    assert run("run.sh", "VTCLIP", *rest).returncode == 0
    assert run("vtclip/main.sh", *rest).returncode == 0
    first, second = calls(tmp_path)
    assert first == second
    assert first.startswith("train.py ")
    assert option(first, "--trainer") == "VTCLIP"
    assert option(first, "--seeds") == "1-3"
    assert option(first, "--shots") == "16"
    assert option(first, "--backbone") == "rn50"
    assert option(first, "--dataset-config-file") == "configs/datasets/digits.yaml"
    assert first.endswith("OPTIM.LR 0.1")


@pytest.mark.parametrize(
    ("rest", "backbone", "end"),
    [
        ((), "", "--seeds 1-3"),
        (("--plugin", "mine", "OPTIM.LR", "1"), "", "--plugin mine OPTIM.LR 1"),
        (("ViT-L/14@336px", "--plugin", "mine"), "ViT-L/14@336px", "--plugin mine"),
        (("some.pt", "SEED", "4"), "some.pt", "SEED 4"),
        (("TRAINER.MINE.A", "1"), "", "TRAINER.MINE.A 1"),
    ],
)
def test_the_backbone_may_be_left_out(
    rest: tuple[str, ...], backbone: str, end: str, run: Run, tmp_path: Path
) -> None:
    assert run("run.sh", "Mine", "digits", "1", *rest).returncode == 0
    (call,) = calls(tmp_path)
    assert option(call, "--backbone") == backbone
    assert call.endswith(end)


def test_a_dataset_may_be_a_file_of_the_user(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    assert run("run.sh", "VTCLIP", "mine.yaml", "1").returncode == 0
    assert option(calls(tmp_path)[0], "--dataset-config-file") == "mine.yaml"


def test_a_failure_stops_with_its_code(run: Run, tmp_path: Path) -> None:
    assert run("run.sh", "CoOp", "digits", "1", FAIL="--trainer CoOp").returncode == 7
    assert run("base2new.sh", "CoOp", "digits", "1", FAIL="TRANSFER True").returncode != 0
    # nothing is trained once the transfer is refused
    assert "--dry-run" in calls(tmp_path)[-1]
    assert len(calls(tmp_path)) == 2


@pytest.mark.parametrize(
    ("script", "arguments", "reason"),
    [
        ("run.sh", (), "too few arguments"),
        ("run.sh", ("CoOp", "digits"), "too few arguments"),
        ("run.sh", ("CoOp", "digitz", "1"), "unknown dataset 'digitz'; known:"),
        ("run.sh", ("CoOp", "digits", "few"), "SHOTS is 'few'"),
        ("vtclip/zeroshot.sh", (), "unknown dataset ''"),
        ("vtclip/base2new.sh", ("digits",), "too few arguments"),
        ("vtclip/xd.sh", ("digits", "1", "tiny"), "too few arguments"),
        ("vtclip/xd.sh", ("digits", "1", "tiny", "OPTIM.LR", "1"), "no TARGET is named"),
        ("vtclip/xd.sh", ("digits", "1", "tiny", "dtdd"), "unknown dataset 'dtdd'"),
        ("feature_bank.sh", ("nowhere.npz",), "no file of features"),
    ],
)
def test_wrong_arguments(script: str, arguments: tuple[str, ...], reason: str, run: Run) -> None:
    done = run(script, *arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "usage: bash" in done.stderr


def test_eval_evaluates_what_the_same_arguments_trained(run: Run, tmp_path: Path) -> None:
    assert run("eval.sh", "CoOp", "digits", "4").returncode == 0
    (call,) = calls(tmp_path)
    assert "--eval-only" in call
    assert option(call, "--trainer") == "CoOp"


def test_base_to_new(run: Run, tmp_path: Path) -> None:
    done = run("vtclip/base2new.sh", "digits", "4", "tiny", "OPTIM.LR", "1")
    assert done.returncode == 0, done.stderr
    check, _, base, new, mean = calls(tmp_path)
    assert "--dry-run" in check
    assert check.endswith("OPTIM.LR 1 TRAINER.TRANSFER True")
    folder = "output_transfer/base2new/digits/VTCLIP/tiny_4shots"
    assert option(base, "--output-dir") == option(new, "--model-dir") == f"{folder}/base"
    assert base.endswith("OPTIM.LR 1 DATASET.SUBSAMPLE_CLASSES base")
    assert option(new, "--output-dir") == f"{folder}/new"
    assert new.endswith("DATASET.SUBSAMPLE_CLASSES new TRAINER.TRANSFER True")
    assert mean == f"scripts/harmonic_mean.py {folder}/base {folder}/new"


def test_cross_dataset(run: Run, tmp_path: Path) -> None:
    arguments = ("CLIPAdapter", "digits", "4", "tiny", "dtd", "eurosat", "OPTIM.LR", "1")
    done = run("xd.sh", *arguments)
    assert done.returncode == 0, done.stderr
    check, _, source, *targets = calls(tmp_path)
    assert check.endswith("OPTIM.LR 1 TRAINER.TRANSFER True")
    assert option(source, "--model-dir") == ""
    # the last of two counts
    assert [call.split("--dataset-config-file ")[2].split()[0] for call in targets] == [
        "configs/datasets/dtd.yaml",
        "configs/datasets/eurosat.yaml",
    ]
    assert {option(call, "--model-dir") for call in targets} == {"output/digits/VTCLIP/tiny_4shots"}


# stands in for python: trains until it is told to end, and then needs a moment to save
TRAINER = """#!/usr/bin/env bash
[[ "$*" == *--dry-run* ]] && echo output/digits/VTCLIP/tiny_4shots && exit 0
[[ "$*" == *--seeds* || "$*" == *zeroshot* || "$*" == *ZeroshotCLIP* ]] || exit 0
trap 'sleep 0.3; echo saved >> calls.txt; exit 143' TERM
echo $$ >> calls.txt
for ((i = 0; i < 600; i++)); do sleep 0.1; done
"""


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("run.sh", ("VTCLIP", "digits", "4")),
        ("eval.sh", ("VTCLIP", "digits", "4")),
        ("base2new.sh", ("VTCLIP", "digits", "4")),
        ("xd.sh", ("VTCLIP", "digits", "4", "tiny", "dtd")),
        ("vtclip/main.sh", ("digits", "4")),
        ("vtclip/xd.sh", ("digits", "4", "tiny", "dtd")),
        ("vtclip/zeroshot.sh", ("digits",)),
        ("feature_bank.sh", ("calls.txt",)),
    ],
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_a_script_ends_what_it_started(
    script: str, arguments: tuple[str, ...], number: int, code: int, run: Run, tmp_path: Path
) -> None:
    if number == signal.SIGINT and script == "vtclip/zeroshot.sh":
        pytest.skip("the script has become the trainer, which gets the signal itself")
    (tmp_path / "python").write_text(TRAINER)
    (tmp_path / "calls.txt").touch()
    with subprocess.Popen(
        ["bash", str(SCRIPTS / script), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": str(tmp_path / "python"), "DATA": "here"},
        stdout=subprocess.DEVNULL,
        # a shell in the background lets its children ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as started:
        until = time.monotonic() + 30
        while not calls(tmp_path) and time.monotonic() < until:
            time.sleep(0.05)
        started.send_signal(number)
        assert started.wait(timeout=30) == code
    trainer, *rest = calls(tmp_path)
    assert rest == ["saved"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(trainer), 0)
