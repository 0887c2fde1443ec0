"""`python -m datasets` as a user calls it."""

import subprocess
import sys
from pathlib import Path

import fakes
import pytest

from datasets import BENCHMARK

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, options=()):
    command = [sys.executable, *options, "-m", "datasets", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout, done.stderr.splitlines()


def test_wrong_names_are_answered_in_one_line_and_before_heavy_imports():
    code, out, lines = run("check", "oxford_pet", options=("-X", "importtime"))
    errors = [line for line in lines if not line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert (code, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith(
        "error: dataset: unknown name 'oxford_pet'; did you mean oxford_pets"
    )
    assert not imported & {"torch", "requests", "numpy", "PIL", "dassl"}


def test_check_prints_one_table_and_lists_the_broken(tmp_path):
    fakes.write_split_copy("oxford_pets", tmp_path)
    (tmp_path / "oxford_pets/images/Abyssinian_34.jpg").write_bytes(b"GIF89a")
    code, out, errors = run("check", "oxford_pets", "dtd", "--deep", "--root", str(tmp_path))
    assert (code, errors) == (1, [])
    lines = out.splitlines()
    assert lines[1].split()[:6] == ["dataset", "state", "train", "val", "test", "classes"]
    assert "2 / 2,944" in out
    assert "4 images opened, 1 broken" in lines
    assert any(line.startswith("broken: oxford_pets/images/Abyssinian_34.jpg: ") for line in lines)
    assert any(line.split()[:2] == ["dtd", "absent"] for line in lines)


def test_an_empty_root_is_no_fault(tmp_path):
    code, out, errors = run("check", "--root", str(tmp_path))
    assert (code, errors) == (0, [])
    assert out.count("absent") == len(BENCHMARK)


def test_prepare_digits_and_a_bad_root(tmp_path):
    code, out, errors = run("prepare", "digits", "--root", str(tmp_path))
    assert (code, errors) == (0, [])
    assert "digits: ready" in out
    (tmp_path / "file").touch()
    code, out, errors = run("prepare", "digits", "--root", str(tmp_path / "file"))
    assert (code, out, len(errors)) == (2, "", 1)
    assert "cannot be written" in errors[0]


@pytest.mark.parametrize("arguments", [[], ["prepare"], ["prepare", "a", "b"], ["fetch"]])
def test_usage(arguments):
    assert run(*arguments)[0] == 2
