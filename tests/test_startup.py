"""What a command line imports before it knows that its arguments are good."""

from __future__ import annotations

import subprocess
import sys

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


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def test_a_configuration_needs_nothing_heavy_but_torch() -> None:
    assert run(PLAN) == ""


def test_arguments_are_read_before_torch() -> None:
    assert run(ARGUMENTS) == "2"
