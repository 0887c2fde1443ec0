"""What the screen shows of a whole run of train.py, and what its log keeps."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from PIL import Image

from vtclip.results import Result, read_result
from vtclip.tables.logs import END_OF_TRAINING, read_log

from .conftest import ROOT
from .test_screen import rendered

SHORT = ("--shots", "1", "OPTIM.MAX_EPOCH", "3", "FEATURES.VIEWS", "2")
MOST_LINES = 12
SEEDS = {"pipe": "4711", "terminal": "4712"}
# as train.py, but with bars from the first moment
MAIN = """
import sys
import vtclip.screen
vtclip.screen.SECONDS_BEFORE_BAR = 0.0
import train
sys.exit(train.main(sys.argv[1:]))
"""


def said_of(result: Result) -> str:
    """Return the start of the line that tells the accuracy of a run."""
    gain = result.accuracy - result.zero_shot_accuracy
    return (
        f"accuracy {result.accuracy:.2f} % on {result.total} test images; zero-shot CLIP "
        f"{result.zero_shot_accuracy:.2f} %; gain {gain:+.2f} points; "
    )


def check_log(folder: Path) -> None:
    """Compare the log of a run with its result, also by the pattern of CoOp's parser."""
    result, log = read_result(folder / "result.json"), (folder / "log.txt").read_bytes().decode()
    assert "\r" not in log
    for part in ("** Config **", "MAX_EPOCH: 3", "epoch [3/3]", said_of(result)):
        assert part in log
    reading = read_log(folder / "log.txt", {"accuracy"}, END_OF_TRAINING)
    assert reading.values == {"accuracy": round(result.accuracy, 1)}
    after = log.split("=> result")[1]
    found = re.findall(r"\* accuracy: ([\.\deE+-]+)%", after)
    assert [float(text) for text in found] == [round(result.accuracy, 1)]


def run_on_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    """Run a command on a terminal of 40 lines and 120 columns; return what it sends there."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=its, stdout=its, stderr=its, close_fds=True
    )
    os.close(its)
    parts = []
    try:
        while part := os.read(ours, 65536):
            parts.append(part)
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return b"".join(parts).decode()


@pytest.mark.parametrize("where", SEEDS)
def test_ten_lines_with_the_gain_at_the_end(
    where: str, tmp_path: Path, digits_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = str(tmp_path_factory.getbasetemp() / "cache")
    environment = {**os.environ, "DATA": str(digits_root), "VTCLIP_CACHE": cache}
    # a seed that no other test has, so that there is something to encode
    run = ("--output-dir", str(tmp_path / "run"), "--seed", SEEDS[where], *SHORT)
    command = [sys.executable, "-c", MAIN, *run]
    if where == "pipe":
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stderr == "" and "\r" not in done.stdout
        lines = done.stdout.splitlines()
    else:
        sent = run_on_a_terminal(command, environment)
        lines = rendered(sent)
        assert re.search(r"encoding train, 2 views: .*\d+/20 images", sent)
        assert re.search(r"training: .*\| \d/3 steps.*left", sent)
    assert len(lines) <= MOST_LINES
    assert not any("|" in line for line in lines)
    assert lines[:3] == [
        f"VTCLIP on Digits, 1 shot, seed {SEEDS[where]}",
        f"folder: {tmp_path}/run (all details are in its log.txt)",
        "backbone tiny on cpu; 10 classes; images: 10 train, 10 val, 719 test",
    ]
    result = read_result(tmp_path / "run" / "result.json")
    assert lines[-5].startswith(said_of(result))
    assert lines[-4:] == [
        f"results: {tmp_path}/run",
        f"next: python predict.py {tmp_path}/run IMAGE",
        f"next: python report.py html {tmp_path}/run",
        f"next: python parse_test_res.py {tmp_path}/run --table",
    ]
    check_log(tmp_path / "run")


def test_the_next_command_works(
    run_train, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    folder = tmp_path / "my runs"
    assert run_train("--output-dir", str(folder), *SHORT, "OPTIM.MAX_EPOCH", "1") == 0
    command = capfd.readouterr().out.splitlines()[-1].removeprefix("next: python ")
    shown = subprocess.run(
        f"'{sys.executable}' {command}",
        shell=True, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"{read_result(folder / 'result.json').accuracy:.2f}" in shown.stdout


def test_verbose_shows_the_log(run_train, tmp_path: Path, capfd) -> None:
    assert run_train("--verbose", "--output-dir", str(tmp_path), *SHORT) == 0
    out = capfd.readouterr().out
    log = (tmp_path / "log.txt").read_text()
    assert out.startswith(log)
    check_log(tmp_path)


def test_a_finished_run_says_its_figures_again(run_train, tmp_path: Path, capfd) -> None:
    assert run_train("--output-dir", str(tmp_path), *SHORT) == 0
    capfd.readouterr()
    log = (tmp_path / "log.txt").read_bytes()
    assert run_train("--output-dir", str(tmp_path), *SHORT) == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) <= MOST_LINES
    assert any("has a result already" in line for line in lines)
    assert lines[-5].startswith(said_of(read_result(tmp_path / "result.json")))
    assert [path.name for path in tmp_path.glob("log.txt*")] == ["log.txt"]
    assert (tmp_path / "log.txt").read_bytes() == log


def test_photographs_on_the_small_backbone_are_warned_of_at_the_figure(
    run_train, tmp_path: Path, capfd
) -> None:
    for number in range(8):
        for part in ("train", "test"):
            folder = tmp_path / "photos" / part / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            shade = 30 * number + (part == "test")
            Image.new("RGB", (32, 32), (shade, 0, 0)).save(folder / f"{number}.png")
    dataset = str(ROOT / "configs" / "datasets" / "image_folder.yaml")
    arguments = ("--root", str(tmp_path / "photos"), "--dataset-config-file", dataset)
    run = ("--output-dir", str(tmp_path / "run"), *SHORT, "OPTIM.MAX_EPOCH", "1")
    assert run_train(*arguments, *run) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[-6].startswith(said_of(read_result(tmp_path / "run" / "result.json")))
    assert lines[-5].startswith("warning: backbone tiny has never seen a photograph")
    assert "--backbone RN50" in lines[-5]
    assert lines[-5] in (tmp_path / "run" / "log.txt").read_text()


def test_help_lists_what_can_be_named(run_train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_train("--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    methods, backbones, datasets = shown[shown.index("methods:") :].split("\n\n")
    assert "TipAdapterF" in methods and "VTCLIP" in methods
    assert "ViT-B/16" in backbones and "tiny" in backbones
    assert "oxford_pets" in datasets and "image_folder" in datasets
    for part in (methods, backbones, datasets):
        assert re.search(r"\n  example: python train\.py ", part)
