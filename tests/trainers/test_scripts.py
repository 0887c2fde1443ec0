"""The run scripts: what they call, in which order, and how they refuse and stop."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import ROOT

SCRIPTS = ROOT / "scripts"
Run = Callable[..., "subprocess.CompletedProcess[str]"]

# stands in for python: notes its arguments, and fails where it is told to
RECORDER = """#!/usr/bin/env bash
[[ "$*" == "-m vtclip.results "* ]] && { [[ -f "${!#}/result.json" ]]; exit; }
echo "$*" >> calls.txt
[[ "$*" == *"--seed ${FAIL:-none} "* ]] && exit 7
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


@pytest.mark.parametrize(
    ("folder", "trainer"),
    [
        ("vtclip", "VTCLIP"),
        ("coop", "CoOp"),
        ("clip_adapter", "CLIPAdapter"),
        ("tip_adapter", "TipAdapter"),
        ("tip_adapter_f", "TipAdapterF"),
        ("calip", "CALIP"),
        ("linear_probe", "LinearProbe"),
        ("zeroshot", "ZeroshotCLIP"),
    ],
)
def test_main_runs_three_seeds_and_sums_them_up(
    folder: str, trainer: str, run: Run, tmp_path: Path
) -> None:
    done = run(f"{folder}/main.sh", "digits", "16", "rn50", "OPTIM.LR", "0.1")
    assert done.returncode == 0, done.stderr
    *seeds, table = calls(tmp_path)
    experiment = f"output/digits/{trainer}/rn50_16shots"
    assert [option(call, "--seed") for call in seeds] == ["1", "2", "3"]
    assert option(seeds[1], "--output-dir") == f"{experiment}/seed2"
    assert option(seeds[0], "--config-file") == f"configs/trainers/{trainer}/rn50.yaml"
    assert option(seeds[0], "--root") == "here"
    assert option(seeds[0], "DATASET.NUM_SHOTS") == "16"
    assert seeds[0].endswith("OPTIM.LR 0.1")
    assert table == f"parse_test_res.py {experiment}"


def test_the_default_is_tiny_and_finished_seeds_are_left_alone(run: Run, tmp_path: Path) -> None:
    finished = tmp_path / "output" / "digits" / "VTCLIP" / "tiny_1shots" / "seed2"
    finished.mkdir(parents=True)
    (finished / "result.json").touch()
    done = run("vtclip/main.sh", "digits", "1")
    assert done.returncode == 0, done.stderr
    assert "seed2: has a result already" in done.stdout
    assert [option(call, "--seed") for call in calls(tmp_path)] == ["1", "3", ""]


def test_a_failing_seed_stops_with_its_code(run: Run, tmp_path: Path) -> None:
    assert run("run.sh", "CoOp", "digits", "1", FAIL="2").returncode == 7
    assert [option(call, "--seed") for call in calls(tmp_path)] == ["1", "2"]


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        (("CoOp", "digits", "1"), "50"),
        (("CoOp", "digits", "4"), "100"),
        (("CoOp", "digits", "16"), ""),
        (("CoOp", "imagenet", "16"), "50"),
        (("TipAdapterF", "eurosat", "2"), "100"),
        (("TipAdapterF", "dtd", "2"), ""),
    ],
)
def test_epochs_by_dataset_and_shots(
    arguments: tuple[str, ...], epochs: str, run: Run, tmp_path: Path
) -> None:
    assert run("run.sh", *arguments).returncode == 0
    assert option(calls(tmp_path)[0], "OPTIM.MAX_EPOCH") == epochs


@pytest.mark.parametrize(
    ("script", "arguments", "reason"),
    [
        ("coop/main.sh", (), "too few arguments"),
        ("coop/main.sh", ("digits",), "too few arguments"),
        ("coop/main.sh", ("digitz", "1"), "unknown dataset 'digitz'; known:"),
        ("coop/main.sh", ("digits", "few"), "SHOTS is 'few'"),
        ("coop/main.sh", ("digits", "1", "OPTIM.LR", "1"), "unknown configuration 'OPTIM.LR'"),
        ("run.sh", ("Coop", "digits", "1"), "unknown trainer 'Coop'"),
        ("vtclip/zeroshot.sh", (), "unknown dataset ''"),
        ("vtclip/eval.sh", ("digits", "1"), "nothing is trained yet"),
        ("vtclip/base2new.sh", ("digits",), "SHOTS is ''"),
        ("vtclip/xd.sh", ("digits", "1", "tiny"), "no TARGET is named"),
        ("vtclip/xd.sh", ("digits", "1", "tiny", "dtdd"), "unknown dataset 'dtdd'"),
        ("feature_bank.sh", ("nowhere.npz",), "no file of features"),
    ],
)
def test_wrong_arguments(script: str, arguments: tuple[str, ...], reason: str, run: Run) -> None:
    done = run(script, *arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "usage: bash" in done.stderr


def test_eval_takes_each_trained_seed(run: Run, tmp_path: Path) -> None:
    trained = "output/digits/CoOp/tiny_4shots"
    (tmp_path / trained / "seed3").mkdir(parents=True)
    assert run("vtclip/eval.sh", "digits", "4", TRAINER="CoOp").returncode == 0
    evaluated, table = calls(tmp_path)
    assert "--eval-only" in evaluated
    assert option(evaluated, "--model-dir") == f"{trained}/seed3"
    assert option(evaluated, "--output-dir") == "output/evaluation/digits/CoOp/tiny_4shots/seed3"
    assert table == "parse_test_res.py output/evaluation/digits/CoOp/tiny_4shots --test-log"


def test_base_to_new(run: Run, tmp_path: Path) -> None:
    done = run("vtclip/base2new.sh", "digits", "4", "tiny", "OPTIM.LR", "1")
    assert done.returncode == 0, done.stderr
    *runs, mean = calls(tmp_path)
    halves = [option(call, "DATASET.SUBSAMPLE_CLASSES") for call in runs]
    assert halves == ["base", "new"] * 3
    folder = "output_transfer/base2new/digits/VTCLIP/tiny_4shots"
    assert option(runs[1], "--model-dir") == option(runs[0], "--output-dir")
    assert option(runs[1], "TRAINER.TRANSFER") == "True"
    assert mean == f"scripts/harmonic_mean.py {folder}/base {folder}/new"


def test_cross_dataset(run: Run, tmp_path: Path) -> None:
    arguments = ("digits", "4", "tiny", "dtd", "eurosat", "OPTIM.LR", "1")
    done = run("vtclip/xd.sh", *arguments, TRAINER="CLIPAdapter")
    assert done.returncode == 0, done.stderr
    found = [call for call in calls(tmp_path) if call.startswith("train.py")]
    assert [option(call, "--model-dir") for call in found[:3]] == [""] * 3
    targets = [Path(option(call, "--dataset-config-file")).stem for call in found[3:]]
    assert targets == ["dtd"] * 3 + ["eurosat"] * 3
    assert {option(call, "TRAINER.TRANSFER") for call in found[3:]} == {"True"}
    assert option(found[3], "--model-dir") == "output/digits/CLIPAdapter/tiny_4shots/seed1"
