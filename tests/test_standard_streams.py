"""Standard streams that are closed, lose their reader or lack characters."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TextIO, cast

import pytest

from vtclip.errors import run_command
from vtclip.results import read_result
from vtclip.standard_streams import Lasting, lasting_streams

from .conftest import ROOT


def test_what_a_pipe_without_a_reader_cannot_take_is_dropped() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as broken:
        stream = Lasting(broken)
        assert stream.write("line\n") == 5
        stream.flush()
        assert stream.write("line\n") == 5
        # closing would write the rest and fail, had it not been led elsewhere


def test_a_closed_stream_takes_everything() -> None:
    closed = io.StringIO()
    closed.close()
    stream = Lasting(closed)
    assert stream.write("text") == 4
    stream.flush()
    stream.close()


def test_characters_that_are_lacking_are_escaped() -> None:
    raw = io.BytesIO()
    stream = Lasting(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("Löwe 😀\n")
    stream.flush()
    assert raw.getvalue() == b"L\\xf6we \\U0001f600\n"


def test_a_stream_that_is_not_there_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", cast(TextIO, None))
    with lasting_streams():
        sys.stdout.write("text")
        print("text", flush=True)
    assert sys.stdout is None


COMMAND = """
import sys
from pathlib import Path
from vtclip.errors import run_command

def main():
    for number in range(20_000):
        print("a line of text, number", number)
    first = Path(sys.argv[1]).open("w")
    assert first.fileno() > 2
    first.write("whole")

sys.exit(run_command(main))
"""


@pytest.mark.parametrize(
    "ending", ["| head -n 1", ">&-", ">&- 2>&-", "<&- >&- 2>&-", "> /dev/full"]
)
def test_a_command_does_its_work_whatever_becomes_of_its_output(
    ending: str, tmp_path: Path
) -> None:
    program, done = tmp_path / "program.py", tmp_path / "done"
    program.write_text(COMMAND)
    line = f'set -o pipefail; "{sys.executable}" "{program}" "{done}" {ending}'
    run = subprocess.run(
        ["bash", "-c", line], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    full = "error: the output: cannot be written (No space left on device).\n"
    assert (run.returncode, run.stderr) == ((2, full) if "full" in ending else (0, ""))
    assert done.read_text() == "whole"


ENDS = {
    "Interrupted(15, 'saved')": (143, "interrupted (SIGTERM): saved"),
    "UserError('KEY: wrong.')": (2, "error: KEY: wrong."),
    "OSError(28, 'No space left on device')": (
        2, "error: the output: cannot be written (No space left on device).",
    ),
    "ValueError('a mistake')": (1, "ValueError: a mistake"),
}  # fmt: skip


@pytest.mark.parametrize("error", ENDS)
def test_a_command_line_of_others_ends_as_those_of_the_project(error: str) -> None:
    program = f"""
from vtclip.errors import UserError, end_as_a_command_does
from vtclip.interruption import Interrupted
end_as_a_command_does()
end_as_a_command_does()
print("output")
raise {error}
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    code, last = ENDS[error]
    assert (run.returncode, run.stderr.splitlines()[-1]) == (code, last)
    assert ("Traceback" in run.stderr) == (code == 1)
    assert run.stdout == "output\n"


def test_a_path_that_this_user_may_not_reach_is_one_line(capsys) -> None:
    def refused() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/closed/x.pt")

    assert run_command(refused) == 2
    said = "error: /closed/x.pt: cannot be read or written (Permission denied).\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    "option", ["--root", "--model-dir", "--resume", "--backbone", "--config-file"]
)
def test_train_refuses_a_folder_without_rights_in_one_line(option: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), option, str(tmp_path / "closed" / "x.pt")]
    if option == "--model-dir":
        command.append("--eval-only")
    if os.geteuid() == 0:
        rights = "-dac_override,-dac_read_search"
        without = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything, and there is no setpriv")
        command = [*without, *command]
    (tmp_path / "closed").mkdir(mode=0)
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2, run.stderr
    assert "closed" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
    assert sum(line.startswith("error: ") for line in run.stderr.splitlines()) == 1


def test_train_goes_on_where_nobody_reads_its_output(digits_root: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DATA": str(digits_root),
        "VTCLIP_CACHE": str(tmp_path / "cache"),
        "PYTHONIOENCODING": "ascii",
    }
    short = "DATASET.NUM_SHOTS 1 OPTIM.MAX_EPOCH 1 FEATURES.VIEWS 1 DATASET.TEMPLATE 'a größe {}.'"
    for number, ending in enumerate(["| head -n 1", ">&-"]):
        folder = tmp_path / str(number)
        line = f'set -o pipefail; "{sys.executable}" train.py --output-dir "{folder}" {short}'
        run = subprocess.run(
            ["bash", "-c", f"{line} {ending}"], cwd=ROOT, env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert read_result(folder / "result.json").epochs == 1
        log = (folder / "log.txt").read_text()
        assert "Prompts: a größe {}." in log
        assert "Finish training" in log
