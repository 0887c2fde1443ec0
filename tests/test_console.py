"""The console command: names, exit codes, and what it imports."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from vtclip import __version__
from vtclip.commands.calls import how_to_call
from vtclip.commands.console import SUBCOMMANDS, main

from .conftest import ROOT


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_of_each_and_wrong_arguments_before_pytorch(name: str) -> None:
    code = (
        "import sys; sys.argv = ['vtclip']\n"
        "from vtclip.commands.console import main\n"
        f"for wrong in (['--no-such-option-'], ['--help'] if {name!r} not in ('train', 'eval') "
        "else []):\n"
        "    try:\n"
        f"        wrong and main([{name!r}, *wrong])\n"
        "    except SystemExit as ended:\n"
        "        print(ended.code, file=sys.stderr)\n"
        "print(sorted({'torch', 'numpy', 'dassl', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert "2" in done.stderr.splitlines()
    assert f"usage: vtclip {'train' if name == 'eval' else name}" in done.stdout + done.stderr


def test_an_unknown_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: vtclip: unknown name 'trian'; did you mean train?")
    assert error.count("\n") == 1


def test_the_list_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name, known in SUBCOMMANDS.items():
        assert f"  {name} " in shown and known.help_text in shown
        assert callable(import_module(f"vtclip.commands.{known.module}").main)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"vtclip {__version__}\n"


def test_eval_is_a_training_that_only_evaluates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["eval", "--trainer", "ZeroshotCLIP", "--shots", "1"]) == 2
    folder = "output/digits/ZeroshotCLIP/tiny_1shots"
    assert f"{folder}: nothing is trained there yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("called", "predict", "datasets"),
    [
        ("train.py", "python predict.py", "python -m datasets"),
        ("/env/bin/vtclip", "vtclip predict", "vtclip datasets"),
        ("/env/vtclip/__main__.py", "vtclip predict", "vtclip datasets"),
        ("/env/vtclip/features/__main__.py", "python predict.py", "python -m datasets"),
    ],
)
def test_how_to_call(
    called: str, predict: str, datasets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [called])
    assert (how_to_call("predict"), how_to_call("datasets")) == (predict, datasets)
