"""A disk that is full while a run writes: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from dassl.engine import TrainerX
from yacs.config import CfgNode

from vtclip import checkpoints, engine, evaluation, log_stream
from vtclip.errors import UserError, run_command
from vtclip.log_stream import end_log, start_log
from vtclip.results import read_result
from vtclip.scalars import Scalars
from vtclip.torch_files import load_on_cpu, save_atomically

from .conftest import ROOT, Lent

SHORT = ("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "2", "FEATURES.VIEWS", "1")
TOO_LARGE = os.strerror(errno.EFBIG)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow above `size` bytes while the block runs."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".run.lock"
    }


# below what a log has from its start; what config.yaml has; what a checkpoint has
CONFIG = -1
LIMITS = {
    "nothing": ("VTCLIP", 0, "config.yaml"),
    "a few lines": ("VTCLIP", 1500, "config.yaml"),
    "no weights": ("VTCLIP", CONFIG, "head/model.pth.tar-2"),
    "some weights": ("VTCLIP", 200_000, "head/model.pth.tar-2"),
    "no fitted tensors": ("TipAdapter", CONFIG, "fitted/model.pth.tar-0"),
    "no predictions": ("ZeroshotCLIP", CONFIG, "predictions.csv"),
}


@pytest.fixture
def _room(run_train, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Features and images are there already, so that the output folder alone is written."""
    for trainer in ("VTCLIP", "TipAdapter", "ZeroshotCLIP"):
        folder = tmp_path_factory.getbasetemp() / "room" / trainer
        if not folder.is_dir():
            assert run_train("--trainer", trainer, "--output-dir", str(folder), *SHORT) == 0


@pytest.mark.usefixtures("_room")
@pytest.mark.parametrize("case", LIMITS)
def test_a_run_that_cannot_be_written(
    case: str,
    run_train,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer, size, file = LIMITS[case]
    if size == CONFIG:
        # Dassl.pytorch's configuration is longer than the stand-in's
        written = tmp_path_factory.getbasetemp() / "room" / trainer / "config.yaml"
        size = written.stat().st_size + 500
    run = tmp_path / "output" / "run"
    capsys.readouterr()
    with largest_file(size):
        assert run_train("--trainer", trainer, "--output-dir", str(run), *SHORT) == 2
    said = capsys.readouterr()
    assert said.err == f"error: {run / file}: cannot be written ({TOO_LARGE}).\n"
    assert "Traceback" not in said.out
    # neither the folder nor the one above
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_room")
def test_a_run_that_has_saved_weights_keeps_them(run_train, tmp_path: Path, capsys) -> None:
    arguments = ("--output-dir", str(tmp_path), *SHORT, "TRAIN.CHECKPOINT_FREQ", "1")
    # what a run goes on from holds the state of the optimizer too
    assert run_train("--output-dir", str(tmp_path), *SHORT) == 0
    size = (tmp_path / "head" / "model.pth.tar-2").stat().st_size
    for path in ("result.json", "head/model.pth.tar-2", "head/checkpoint"):
        (tmp_path / path).unlink()
    capsys.readouterr()
    with largest_file(size + 10_000):
        assert run_train(*arguments) == 2
    assert "head/unfinished.pth.tar: cannot be written" in capsys.readouterr().err
    assert checkpoints.load(tmp_path / "head" / "model.pth.tar-1")["epoch"] == 1
    assert {path.name for path in (tmp_path / "head").iterdir()} == {
        "model.pth.tar-1", "checkpoint",
    }  # fmt: skip
    logs = [path.read_text() for path in tmp_path.glob("log.txt*")]
    assert any("head/unfinished.pth.tar: cannot be written" in log for log in logs)
    assert run_train(*arguments) == 0


@pytest.mark.usefixtures("_room")
@pytest.mark.parametrize("size", [0, 4000, 200_000])
def test_an_earlier_model_is_not_lost(size: int, run_train, tmp_path: Path, capsys) -> None:
    arguments = ("--output-dir", str(tmp_path), *SHORT)
    assert run_train(*arguments) == 0
    result = (tmp_path / "result.json").read_bytes()
    (tmp_path / "result.json").unlink()
    before = files_of(tmp_path)
    capsys.readouterr()
    with largest_file(size):
        assert run_train(*arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert files_of(tmp_path) == before
    # an evaluation whose result finds no room
    (tmp_path / "result.json").write_bytes(result)
    evaluate = ("--eval-only", "--model-dir", str(tmp_path), *SHORT)
    with largest_file(min(size, 4000)):
        assert run_train(*evaluate, "--output-dir", str(tmp_path / "again")) == 2
    assert files_of(tmp_path) == before | {"result.json": result}


def test_checkpoints_of_an_earlier_attempt_go_with_the_end_of_the_run(
    run_train, tmp_path: Path
) -> None:
    arguments = ("--output-dir", str(tmp_path), *SHORT)
    assert run_train(*arguments, "TRAIN.CHECKPOINT_FREQ", "1") == 0
    (tmp_path / "result.json").unlink()
    assert run_train(*arguments) == 0
    # epoch 1 is of the attempt before, epoch 2 of this one
    assert not (tmp_path / "head" / "model.pth.tar-1").exists()
    assert checkpoints.load(checkpoints.find(tmp_path / "head", None))["epoch"] == 2


def test_a_log_without_room_costs_the_log_alone(
    run_train, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the larger files of a run, which the log comes before
    for name in ("write_predictions_of_run", "write_model"):
        monkeypatch.setattr(engine, name, lambda *_: None)
    options = ("--trainer", "ZeroshotCLIP", *SHORT, "TEST.PER_CLASS_RESULT", "True")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    # the first of them says in its log that it encodes images
    for folder in (tmp_path / "first", whole):
        assert run_train("--output-dir", str(folder), *options) == 0
    size = (whole / "result.json").stat().st_size + 50
    assert (whole / "log.txt").stat().st_size > size
    capsys.readouterr()
    with largest_file(size):
        assert run_train("--output-dir", str(cut), *options) == 0
    said = capsys.readouterr()
    # Dassl.pytorch's logger raises, and the stand-in's says it itself
    assert (said.out + said.err).count("log could not be written") == 1
    results = [read_result(folder / "result.json") for folder in (whole, cut)]
    assert results[0].accuracy == results[1].accuracy


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EFBIG, TOO_LARGE), TOO_LARGE),
        (RuntimeError("unexpected pos 64 vs 0\nframe #0"), "unexpected pos 64 vs 0"),
    ],
)
def test_a_confusion_matrix_without_room(error: Exception, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "cmat.pt"

    class Evaluator:
        def evaluate(self) -> None:
            path.write_bytes(b"half")
            raise error

    test = SimpleNamespace(COMPUTE_CMAT=True)
    trainer: Any = SimpleNamespace(
        evaluator=Evaluator(), cfg=SimpleNamespace(TEST=test), output_dir=str(tmp_path)
    )
    with pytest.raises(UserError) as refused:
        evaluation._results(trainer)
    assert str(refused.value) == f"{path}: cannot be written ({reason})."
    assert not path.exists()
    test.COMPUTE_CMAT = False
    with pytest.raises(type(error)):
        evaluation._results(trainer)


# ---- the parts


def test_torch_save_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.pt"
    content = {"a": torch.arange(50_000.0), "b": [1, "two", None]}
    for size in (0, 100, 70_000, 199_999):
        with largest_file(size), pytest.raises(UserError) as refused:
            save_atomically(content, path)
        assert str(refused.value) == f"{path}: cannot be written ({TOO_LARGE})."
        assert list(path.parent.iterdir()) == []
    save_atomically(content, path)
    whole = path.read_bytes()
    found = load_on_cpu(path)
    assert found["a"].equal(content["a"])
    assert found["b"] == content["b"]
    with largest_file(70_000), pytest.raises(UserError):
        save_atomically({"a": torch.zeros(50_000)}, path)
    assert path.read_bytes() == whole
    assert [file.name for file in path.parent.iterdir()] == ["x.pt"]


class RaisingLogger:
    """As Dassl.pytorch's: a buffered file beside the console, which is written first."""

    def __init__(self, path: str) -> None:
        self.console = sys.stdout
        self.file = open(path, "w", buffering=20)  # noqa: SIM115, PTH123

    def __del__(self) -> None:
        self.close()

    def write(self, text: str) -> None:
        self.console.write(text)
        self.file.write(text)

    def flush(self) -> None:
        self.console.flush()
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.console.close()
        self.file.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("text", ["x\n", "x" * 20_000 + "\n"])
def test_a_logger_that_raises_is_left_out(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def start(folder: str) -> None:
        monkeypatch.setattr(sys, "stdout", RaisingLogger("/dev/full"))

    with monkeypatch.context():
        monkeypatch.setattr(log_stream, "setup_logger", start)
        monkeypatch.setattr(sys, "stdout", Lent(sys.stdout))
        start_log(str(tmp_path))
        print(text, end="")
        sys.stdout.flush()
        print("after")
        sys.stdout.flush()
    monkeypatch.undo()
    said = capsys.readouterr()
    reason = os.strerror(errno.ENOSPC)
    told = f"{tmp_path}: the log could not be written ({reason}); the run goes on without it\n"
    assert said.out == f"{text}{told}after\n"
    assert said.err == ""
    assert unraisable == []


def test_a_log_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = sys.stdout
    with pytest.raises(UserError, match=r"file.*cannot be written \(Not a directory\)"):
        start_log(str(tmp_path / "file" / "run"))
    assert sys.stdout is before
    # the logger of Dassl.pytorch closes what it copies, when it is thrown away as well
    print("still open", flush=True)


def test_the_console_outlives_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    for number in range(2):
        start_log(str(tmp_path / str(number)))
        print(f"run {number}")
        end_log()
        print(f"after {number}")
        sys.stdout = before
    assert capsys.readouterr().out.split("\n")[:4] == ["run 0", "after 0", "run 1", "after 1"]
    (log,) = (tmp_path / "1").glob("log.txt*")
    assert log.read_text() == "run 1\n"


class Bare(Scalars):
    """A trainer without data."""

    def __init__(self, folder: Path, track: str = "tensorboard") -> None:
        self._writer: Any = None
        self.output_dir = str(folder)
        self.cfg = CfgNode({"TRAIN": {"TRACK": track}})


@pytest.mark.parametrize(("size", "begun"), [(0, False), (60, False), (150, True)])
def test_tensorboard_without_room_costs_its_files_alone(
    size: int,
    begun: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert issubclass(Bare, TrainerX)
    of_threads: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", of_threads.append)
    trainer = Bare(tmp_path)
    with largest_file(size), trainer.scalars_written():
        trainer.init_writer(str(tmp_path / "tensorboard"))
        assert (trainer._writer is not None) == begun
        for step in range(200):
            trainer.write_scalar("train/loss", 0.5, step)
    trainer.close_writer()
    said = capsys.readouterr()
    told = [line for line in said.out.splitlines() if "TensorBoard's files" in line]
    assert told == [
        f"{tmp_path}: TensorBoard's files could not be written ({TOO_LARGE}); the run goes on "
        "without them"
    ]
    assert said.err == ""
    assert of_threads == []


@pytest.mark.parametrize("size", [0, 60])
def test_a_table_of_scalars_without_room(
    size: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = Bare(tmp_path, "csv")
    with largest_file(size), trainer.scalars_written():
        trainer.init_writer(str(tmp_path / "tensorboard"))
        for step in range(200):
            trainer.write_scalar("train/loss", 0.5, step)
    assert trainer._writer is None
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"{tmp_path}: scalars.csv could not be written ({TOO_LARGE}); the run goes on without them"
    ]
    assert said.err == ""


def test_errors_of_other_threads_are_still_shown(tmp_path: Path, monkeypatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)

    def fail() -> None:
        raise OSError(errno.ENOSPC, "of another")

    with Bare(tmp_path).scalars_written():
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert [args.exc_type for args in shown] == [OSError]


# ---- the output of a command line itself


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("lines", [1, 5000])
def test_standard_output_on_a_full_disk(lines: int) -> None:
    code = (
        "import sys; from vtclip.errors import run_command; "
        f"sys.exit(run_command(lambda: print('line\\n' * {lines})))"
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
        reason = os.strerror(errno.ENOSPC)
        assert done.stderr == f"error: the output: cannot be written ({reason}).\n"
        assert done.returncode == 2
        # nobody can be told
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=full)
        assert done.returncode == 2


LOGGED = """
import sys
from tests.test_full_disk import RaisingLogger
from vtclip.errors import UserError, end_as_a_command_does
end_as_a_command_does()
sys.stdout = RaisingLogger("/dev/full")
print("x", end="")
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    ("last", "line"),
    [
        ("", "the output: cannot be written (No space left on device)."),
        ("raise UserError('KEY: wrong.')", "KEY: wrong."),
    ],
)
def test_the_log_of_a_command_line_of_others_on_a_full_disk(last: str, line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGGED + last], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, f"error: {line}\n")
    assert done.stdout == "x"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_anywhere_is_one_line(code: int, capsys) -> None:
    def fail() -> None:
        raise OSError(code, os.strerror(code), "some/file")

    assert run_command(fail) == 2
    said = capsys.readouterr().err
    assert said == f"error: some/file: cannot be written ({os.strerror(code)}).\n"

    def fail_otherwise() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        run_command(fail_otherwise)


# ---- a real file system


@pytest.mark.skipif(os.geteuid() != 0, reason="file systems are mounted by root only")
@pytest.mark.usefixtures("_room")
@pytest.mark.parametrize("kilobytes", [4, 16, 100])
def test_a_small_file_system(
    kilobytes: int, run_train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    if subprocess.run(["mount", *options], capture_output=True).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        capsys.readouterr()
        assert run_train("--output-dir", str(disk / "run"), *SHORT) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {disk / 'run'}")
        assert line.endswith(f"cannot be written ({os.strerror(errno.ENOSPC)}).")
        assert list(disk.iterdir()) == []
    finally:
        # not before the log is closed, which Dassl holds open
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
