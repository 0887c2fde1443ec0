"""docs/extending.md as a reader follows it: its files, its commands, and what comes of them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vtclip.results import Result, read_result

from .conftest import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BACKBONES = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
# a file is named at the end of the sentence before its block
FILE = re.compile(r"`(\w+\.\w+)`:\n\n```\w+\n(.*?)```", re.DOTALL)


def files() -> dict[str, str]:
    """The files of the page, and the backbone of docs/backbones.md."""
    (backbone,) = re.findall(r"```python\n(.*?)```", BACKBONES, re.DOTALL)
    return {**dict(FILE.findall(PAGE)), "my_backbone.py": backbone}


def commands(heading: str) -> list[list[str]]:
    """The commands of a section, in the order of the page."""
    section = re.split(rf"^#+ {heading}$", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    text = section.replace("\\\n", " ")
    return [
        shlex.split(line) for line in re.findall(r"^    ((?:bash|python) .*)$", text, re.MULTILINE)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in files().items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run_section(folder: Path, digits_root: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the commands of a section; return what each printed."""
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.setenv("VTCLIP_CACHE", str(folder / "cache"))

    def run(heading: str, data: Path = digits_root) -> list[str]:
        printed = []
        for command in commands(heading):
            program, script, *rest = command
            path = ROOT / script if (ROOT / script).is_file() else folder / script
            done = subprocess.run(
                [sys.executable if program == "python" else program, str(path), *rest],
                cwd=folder,
                env={**os.environ, "DATA": str(data)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
            printed.append(done.stdout)
        return printed

    return run


def results(folder: Path) -> list[Result]:
    """The results of the seeds of an experiment."""
    return [read_result(path) for path in sorted(folder.glob("seed*/result.json"))]


def test_the_page_has_its_files_and_commands() -> None:
    assert sorted(files()) == [
        "class_means.py", "high_rate.yaml", "make_squares.py", "my_backbone.py", "shift.py",
        "squares.py", "squares.yaml",
    ]  # fmt: skip
    headings = ("In closed form", "Trained step by step", "A dataset", "A backbone")
    assert [len(commands(heading)) for heading in headings] == [3, 4, 4, 2]


def test_the_class_means_are_those_of_four_points() -> None:
    space: dict[str, object] = {}
    exec(
        compile(files()["class_means.py"].split("@TRAINER_REGISTRY")[0], "class_means", "exec"),
        space,
    )
    points = torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.0, 1.0], [0.0, -5.0]])
    means = space["class_means"](points, torch.tensor([0, 0, 1, 2]), 3)  # type: ignore[operator]
    expected = torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0], [0.0, -1.0]])
    torch.testing.assert_close(means, expected)


def test_a_method_in_closed_form(run_section, folder: Path) -> None:
    trained, evaluated, table = run_section("In closed form")
    found = results(folder / "output" / "digits" / "ClassMeans" / "tiny_1shots")
    assert [result.seed for result in found] == [1, 2, 3]
    assert all(result.zero_shot_accuracy == pytest.approx(69.4, abs=0.3) for result in found)
    assert all(result.settings["TRAINER.CLASSMEANS.ALPHA"] == 1.0 for result in found)
    mean = sum(result.accuracy for result in found) / 3
    assert mean > 72
    assert all(f"{mean:.2f}" in printed for printed in (trained, evaluated, table))
    again = results(folder / "output/evaluation/digits/ClassMeans/tiny_1shots")
    assert [result.accuracy for result in again] == [result.accuracy for result in found]


def test_a_trained_method(run_section, folder: Path) -> None:
    *_, transferred, _ = run_section("Trained step by step")
    shown = folder / "output" / "digits" / "ShiftedCLIP"
    found = results(shown / "tiny_1shots")
    assert [result.trainable_parameters for result in found] == [128, 128]
    assert [result.epochs for result in found] == [20, 20]
    assert all(result.accuracy != result.zero_shot_accuracy for result in found)
    (faster,) = results(shown / "tiny_1shots_OPTIM.LR=0.1")
    assert faster.settings["OPTIM.LR"] == 0.1
    (named,) = results(shown / "tiny_1shots_high-rate")
    assert (named.method, faster.method) == ("ShiftedCLIP (high-rate)", "ShiftedCLIP")
    assert named.correct == faster.correct
    assert re.search(r"mean: base [\d.]+%, new [\d.]+%, H [\d.]+%", transferred)


def test_a_dataset(run_section, folder: Path) -> None:
    *_, dry = run_section("A dataset", folder / "data")
    of_squares = folder / Path(dry.splitlines()[-1])
    found = results(of_squares)
    assert [result.total for result in found] == [30, 30, 30]
    assert {result.dataset for result in found} == {"Squares"}
    assert all(list(result.templates) == ["a {} square."] for result in found)
    assert len({result.list_digest["train"] for result in found}) == 3
    assert all(result.accuracy > 60 for result in found)
    (zero_shot,) = results(folder / "output" / "squares" / "ZeroshotCLIP" / "tiny_-1shots")
    assert zero_shot.accuracy == zero_shot.zero_shot_accuracy


def test_a_backbone(run_section, folder: Path) -> None:
    made = subprocess.run([sys.executable, "make_squares.py"], cwd=folder, check=False)
    assert made.returncode == 0
    run_section("A backbone", folder / "data")
    for path in (folder / "output" / "squares").rglob("result.json"):
        result = read_result(path)
        assert result.backbone == "colours"
        assert result.zero_shot_accuracy == 100.0
    assert len(list((folder / "output" / "squares").rglob("result.json"))) == 2
