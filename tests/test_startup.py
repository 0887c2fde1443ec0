"""What a command line imports before it knows that its arguments are good."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vtclip.commands.console import SUBCOMMANDS

from .conftest import ROOT

PLAN = """
import sys, train
from vtclip.plugins import import_modules
import_modules(["trainers", "datasets"])
train.plan_of(train.parse_args([]))
print(*sorted({"torchvision", "sklearn", "matplotlib", "tensorboard", "clip"} & set(sys.modules)))
"""
ARGUMENTS = """
import sys, train
train.parse_args(["--shots", "4"])
try:
    train.parse_args(["--shots", "four"])
except SystemExit as ended:
    print(ended.code, *sorted({"torch", "numpy", "dassl"} & set(sys.modules)))
"""

HELP = """
import sys
from contextlib import redirect_stdout
from io import StringIO
from vtclip.commands.console import main
with redirect_stdout(StringIO()) as shown:
    try:
        main(sys.argv[1:])
    except SystemExit as ended:
        code = ended.code
assert "usage" in shown.getvalue(), shown.getvalue()
heavy = {"torch", "torchvision", "numpy", "scipy", "sklearn", "PIL", "dassl", "tabulate", "yacs"}
print(code, *sorted(heavy & set(sys.modules)))
"""
NAMES = """
from vtclip import command_help
read, imported = command_help._without_plugins(), command_help._with_plugins(())
print(*("same" if sorted(one) == sorted(two) else (one, two) for one, two in zip(read, imported)))
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def test_a_configuration_needs_nothing_heavy_but_torch() -> None:
    assert run(PLAN) == ""


def test_arguments_are_read_before_torch() -> None:
    assert run(ARGUMENTS) == "2"


@pytest.mark.parametrize("command", ["", *SUBCOMMANDS])
def test_help_imports_nothing_heavy(command: str) -> None:
    assert run(HELP, *([command] if command else []), "--help") == "0"


def test_help_without_imports_names_what_is_registered() -> None:
    assert run(NAMES) == "same same"
