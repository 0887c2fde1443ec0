from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from .tables.runs import lines_of_a_test, log_text, write_log, write_runs

SCRIPT = Path(__file__).parents[1] / "parse_test_res.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parse_test_res", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(script: ModuleType, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert script.main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_every_argument_of_coop(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for seed, accuracy in enumerate((90.0, 92.0), start=1):
        write_log(tmp_path / "train" / "a" / f"seed{seed}", log_text(accuracy, 70.0))
    write_log(tmp_path / "test" / "seed1", "\n".join(lines_of_a_test(58.2, 57.0)))
    assert "* accuracy: 91.00% +- 1.00%" in printed(script, capsys, tmp_path / "train" / "a")
    # 1.96 * 1 / sqrt(2)
    assert "+- 1.39%" in printed(script, capsys, tmp_path / "train" / "a", "--ci95")
    several = printed(script, capsys, tmp_path / "train", "--multi-exp", "--keyword", "macro_f1")
    assert "Average performance\n* macro_f1: 70.00%\n" in several
    assert "58.20%" in printed(script, capsys, tmp_path / "test", "--test-log")


def test_tables(script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_runs(tmp_path, [62.0, 63.0, 64.0], dataset="ImageNet", backbone="RN50")
    assert "63.00 ± 0.82" in printed(script, capsys, tmp_path, "--table")
    assert printed(script, capsys, tmp_path, "--table", "--format", "json")[0] == "{"
    assert "VTCLIP, published" in printed(script, capsys, tmp_path, "--table", "--published")
    several = printed(script, capsys, tmp_path, "--table", "--metrics", "accuracy,ece,nll")
    assert [several.count(f"{name} in ") for name in ("accuracy", "ece", "nll")] == [1, 1, 1]
    own = tmp_path / "own.csv"
    own.write_text("method,backbone,dataset,shots,accuracy,source\nX,RN50,imagenet,16,1,me\n")
    assert "X, published [1]" in printed(script, capsys, tmp_path, "--table", "--published", own)


def test_seconds_and_parameters_are_on_demand(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_runs(tmp_path, [62.0, 63.0, 64.0])
    assert printed(script, capsys, tmp_path, "--table").splitlines()[2].split() == [
        "method", "16", "seeds",
    ]  # fmt: skip
    every = printed(script, capsys, tmp_path, "--table", "--columns", "seeds,seconds,parameters")
    assert "1.58M" in every
    assert "seeds" not in printed(script, capsys, tmp_path, "--table", "--columns", "none").replace(
        "over seeds", ""
    )


def test_csv_keeps_the_notes_apart(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_runs(tmp_path, [90.0])
    assert script.main([str(tmp_path), "--table", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("method,backbone,") and len(out.splitlines()) == 2
    assert "warning: VTCLIP: only 1 seed" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rows", "shots"], "--rows: add --table"),
        (["--published"], "--published: add --table"),
        (["--mix"], "--mix: add --table"),
        (["--format", "csv"], "--format: add --table"),
        (["--columns", "seeds"], "--columns: add --table"),
        (["--table", "--format", "csv", "--columns", "seeds"], "csv has all of them"),
        (["--table", "--multi-exp"], "--multi-exp: --table reads"),
        (["--table", "--test-log"], "--test-log: --table reads"),
    ],
)
def test_arguments_that_do_not_go_together(
    script: ModuleType,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert script.main([str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_formats_of_the_command_line_are_those_of_the_library() -> None:
    from vtclip.commands import tables
    from vtclip.tables.render import FORMATS

    assert tables.FORMATS == FORMATS


def test_an_error_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    write_log(tmp_path / "seed1", log_text(0, finished=False))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        f"error: Nothing found in {tmp_path}: {tmp_path}/seed1: log.txt: "
        'no line "Finish training".\n'
    )


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    write_runs(tmp_path, [90.0, 91.0, 92.0])
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['parse', {str(tmp_path)!r}, '--table']\n"
        f"try:\n    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit as done:\n    assert done.code == 0, done.code\n"
        "assert not {'torch', 'sklearn', 'scipy', 'dassl', 'matplotlib'} & set(sys.modules)\n"
    )
    path = ["-c", f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n{code}"]
    subprocess.run([sys.executable, *path], check=True, capture_output=True)
