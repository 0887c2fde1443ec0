"""Signals: what is being written is finished, the state is saved, and the exit code tells which."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vtclip import checkpoints, interruption
from vtclip.errors import run_command
from vtclip.files import atomic_path, write_text
from vtclip.interruption import Interrupted, ended_by_signals, put_off, raise_if_received
from vtclip.results import read_result

from .conftest import ROOT

OPTIONS = ("DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "6", "FEATURES.VIEWS", "2")


@pytest.fixture(autouse=True)
def _signals_are_not_ignored() -> Iterator[None]:
    """A shell that starts the tests in the background lets them ignore Ctrl-C."""
    before = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    """Send a signal to this process, unless that would end the tests."""
    assert signal.getsignal(number) not in (signal.SIG_DFL, signal.default_int_handler)
    signal.raise_signal(number)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_is_one_line_and_128_with_its_number(number: int, code: int, capsys) -> None:
    before = signal.getsignal(number)
    assert run_command(lambda: send(number)) == code
    assert signal.getsignal(number) is before
    assert capsys.readouterr().err == f"interrupted ({signal.Signals(number).name})\n"


def test_a_signal_waits_until_a_file_is_written(tmp_path: Path) -> None:
    reached = []
    with pytest.raises(Interrupted) as stopped, ended_by_signals():
        with atomic_path(tmp_path / "x") as temporary:
            send(signal.SIGTERM)
            temporary.write_text("whole")
            # a file in the course of writing another one
            write_text(tmp_path / "y", "whole")
        reached.append("after the file")
    assert stopped.value.exit_code == 143
    assert not reached
    assert (tmp_path / "x").read_text() == (tmp_path / "y").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_signal_that_is_sent_twice_is_one_and_a_later_one_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = []
    monkeypatch.setattr(interruption, "SAME_SIGNAL_S", 0.2)
    with pytest.raises(Interrupted), ended_by_signals(), atomic_path(tmp_path / "x") as temporary:
        temporary.write_text("half")
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        reached.append("after the second")
        time.sleep(0.3)
        send(signal.SIGINT)
        reached.append("after the third")
    assert reached == ["after the second"]
    assert not list(tmp_path.iterdir())


def test_what_is_saved_on_the_way_out_is_not_interrupted_by_the_same_signal(tmp_path: Path) -> None:
    with pytest.raises(Interrupted), ended_by_signals():
        try:
            send(signal.SIGTERM)
        finally:
            send(signal.SIGTERM)
            write_text(tmp_path / "x", "whole")
            (tmp_path / "y").touch()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_signal_that_a_destructor_swallowed_is_raised_later() -> None:
    class Destroyed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted), ended_by_signals():
        patch.setattr(sys, "unraisablehook", lambda _: None)
        Destroyed()
        raise_if_received()
    raise_if_received()  # what one command received does not end the next


def test_a_block_within_another_adds_nothing() -> None:
    with ended_by_signals():
        with pytest.raises(Interrupted), ended_by_signals():
            send(signal.SIGTERM)
        # the same signal, passed on twice
        send(signal.SIGTERM)
        with pytest.raises(Interrupted):
            raise_if_received()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    assert run_command(lambda: signal.raise_signal(signal.SIGHUP)) == 0


def test_threads_neither_catch_nor_put_off(tmp_path: Path) -> None:
    codes = []

    def work() -> None:
        with put_off():
            codes.append(run_command(lambda: write_text(tmp_path / "x", "")))

    thread = threading.Thread(target=work)
    with ended_by_signals():
        thread.start()
        thread.join()
    assert codes == [0]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_forked_process_ends_as_without_a_handler(number: int, code: int) -> None:
    program = f"""
import os, signal, sys
from vtclip.interruption import ended_by_signals
signal.signal(signal.SIGINT, signal.default_int_handler)
with ended_by_signals():
    child = os.fork()
    if not child:
        try:
            os.kill(os.getpid(), {int(number)})
        except KeyboardInterrupt as error:
            os._exit(130 if type(error) is KeyboardInterrupt else 1)
        os._exit(2)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == code


# ---- runs


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the unbroken run that broken ones are compared with; made by the first test."""
    return tmp_path_factory.mktemp("whole") / "run"


def unbroken(run_train: Callable[..., int], folder: Path) -> Path:
    if not folder.exists():
        assert run_train("--output-dir", str(folder), *OPTIONS) == 0
    return folder


def head_of(folder: Path) -> dict[str, Any]:
    return checkpoints.load(folder / "head" / "model.pth.tar-6")["state_dict"]


def logs(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.glob("log.txt*"))]


@pytest.mark.parametrize(
    ("number", "code", "hook", "epoch"),
    [
        (signal.SIGTERM, 143, "forward_backward", 3),
        # an epoch counts once its state is copied
        (signal.SIGINT, 130, "after_epoch", 3),
        # the last one is trained again
        (signal.SIGHUP, 129, "test", 5),
    ],
)
def test_a_run_saves_on_its_way_out_and_goes_on_to_equal_numbers(
    number: int, code: int, hook: str, epoch: int, run_train, whole: Path, tmp_path: Path,
    capsys, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from trainers.vtclip import VTCLIP

    monkeypatch.setattr("vtclip.checkpointing.LARGEST_SHARE_OF_COPIES", 1e9)
    unbroken(run_train, whole)
    run = ("--output-dir", str(tmp_path), *OPTIONS)
    original = getattr(VTCLIP, hook)

    def signalled(trainer: VTCLIP, *args: Any) -> Any:
        if trainer.epoch == epoch:
            send(number)
        return original(trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(VTCLIP, hook, signalled)
        capsys.readouterr()
        assert run_train(*run) == code
    line = (
        f"interrupted ({signal.Signals(number).name}): saved after epoch {epoch} of 6; the same "
        "command goes on from there\n"
    )
    assert capsys.readouterr().err == line
    assert logs(tmp_path)[0].endswith(line)
    assert not (tmp_path / "result.json").exists()
    assert run_train(*run) == 0
    assert f"(epoch={epoch})" in logs(tmp_path)[1]
    first, second = head_of(whole), head_of(tmp_path)
    assert all(first[key].equal(second[key]) for key in first)
    results = [read_result(folder / "result.json") for folder in (whole, tmp_path)]
    assert results[0].accuracy == results[1].accuracy
    assert not (tmp_path / "head" / checkpoints.UNFINISHED).exists()


def test_before_the_first_epoch_nothing_is_saved(run_train, tmp_path: Path, capsys, monkeypatch):
    from trainers.vtclip import VTCLIP

    with monkeypatch.context() as patch:
        patch.setattr(VTCLIP, "before_epoch", lambda _: send(signal.SIGTERM))
        assert run_train("--output-dir", str(tmp_path), *OPTIONS) == 143
    assert "no epoch was finished; the same command starts anew" in capsys.readouterr().err
    assert not (tmp_path / "head").exists()


def test_an_older_copy_never_replaces_a_newer_state(run_train, tmp_path: Path, capsys, monkeypatch):
    from trainers.vtclip import VTCLIP

    save_unfinished = VTCLIP._save_unfinished

    def signalled(trainer: VTCLIP) -> None:
        save_unfinished(trainer)
        send(signal.SIGTERM)

    monkeypatch.setattr(VTCLIP, "_save_unfinished", signalled)
    options = (*OPTIONS, "TRAIN.CHECKPOINT_FREQ", "3")
    assert run_train("--output-dir", str(tmp_path), *options) == 143
    assert "saved after epoch 3 of 6" in capsys.readouterr().err
    assert checkpoints.load(tmp_path / "head" / checkpoints.UNFINISHED)["epoch"] == 3


def test_a_keyboard_interrupt_without_a_command_line_saves_too(
    run_train, tmp_path: Path, monkeypatch
) -> None:
    from trainers.vtclip import VTCLIP

    def stop(trainer: VTCLIP) -> None:
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(VTCLIP, "before_epoch", stop)
    assert run_train("--output-dir", str(tmp_path), *OPTIONS) == 130
    assert checkpoints.load(tmp_path / "head" / checkpoints.UNFINISHED)["epoch"] == 1
