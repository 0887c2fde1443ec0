import errno
import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dassl.utils import setup_logger


def test_everything_printed_is_in_the_file(tmp_path, capsys):
    setup_logger(tmp_path / "run")
    print("to stdout")
    print("to stderr", file=sys.stderr)
    assert (tmp_path / "run" / "log.txt").read_text() == "to stdout\nto stderr\n"
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("to stdout\n", "to stderr\n")


def test_second_run_has_a_dated_file_and_the_first_stays(tmp_path):
    setup_logger(tmp_path)
    handler = logging.StreamHandler(sys.stderr)
    print("first")
    setup_logger(tmp_path)
    print("second")
    handler.emit(logging.makeLogRecord({"msg": "from an old handler"}))
    assert (tmp_path / "log.txt").read_text() == "first\n"
    (dated,) = (path for path in tmp_path.iterdir() if path.name != "log.txt")
    assert re.fullmatch(r"log\.txt-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-\d+", dated.name)
    assert dated.read_text() == "second\nfrom an old handler\n"


def test_file_name_or_none(tmp_path):
    before = sys.stdout
    setup_logger(None)
    assert sys.stdout is before
    setup_logger(tmp_path / "a.log")
    print("x")
    assert (tmp_path / "a.log").read_text() == "x\n"


def test_stream_is_still_the_stream(tmp_path):
    setup_logger(tmp_path)
    assert sys.stderr.isatty() is False
    assert sys.stdout.encoding.lower() == "utf-8"


class _FullDisk(io.RawIOBase):
    """Takes a few bytes, then no more."""

    def __init__(self, room):
        self.room, self.data = room, b""

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.data += taken
        return len(taken)


def test_full_disk_ends_the_log_and_not_the_run(tmp_path, capsys):
    setup_logger(tmp_path)
    disk = sys.stdout.log.file = _FullDisk(room=8)
    print("first")
    print("second")
    print("third")
    print("fourth", file=sys.stderr)
    captured = capsys.readouterr()
    told = f"{tmp_path / 'log.txt'}: the log could not be written: {os.strerror(errno.ENOSPC)}"
    assert captured.out == f"first\nsecond{told}\n\nthird\n"
    assert captured.err == "fourth\n"
    assert disk.data == b"first\nse"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_run_on_a_full_disk_exits_as_usual(tmp_path):
    script = (
        "import sys; from dassl.utils import setup_logger; setup_logger(sys.argv[1]);"
        "sys.stdout.log.file = open('/dev/full', 'wb', buffering=0);"
        "print('one'); print('two'); print('end', end='')"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    assert (run.stdout.count("could not be written"), run.stdout[-7:]) == (1, "two\nend")


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "caf? ?"), ("latin-1", "caf\xe9 ?")])
def test_characters_the_console_does_not_have(tmp_path, monkeypatch, encoding, shown):
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", console)
    setup_logger(tmp_path)
    print("caf\xe9 \u2192")
    assert console.buffer.getvalue() == f"{shown}\n".encode(encoding)
    assert (tmp_path / "log.txt").read_bytes() == "caf\xe9 \u2192\n".encode()


def test_file_names_that_are_not_unicode(tmp_path, capsys):
    setup_logger(tmp_path)
    print("a\udcff.jpg")
    assert (tmp_path / "log.txt").read_text() == "a\\udcff.jpg\n"


def test_only_the_last_state_of_a_progress_bar_is_logged(tmp_path, capsys):
    setup_logger(tmp_path)
    for text in (
        "\r 10%",
        "\r 50%",
        "\r",
        "100%",
        "\n",
        "dos\r\n",
        "a\rb\nc\r",
        "\n",
        "\r  \rnext\n",
    ):
        sys.stdout.write(text)
    sys.stdout.writelines(["x", "y\n"])
    assert (tmp_path / "log.txt").read_bytes() == b"100%\ndos\nb\nc\nnext\nxy\n"
    assert capsys.readouterr().out.startswith("\r 10%\r 50%\r100%\ndos\r\na\rb\n")


def test_line_without_end_is_logged_at_the_end(tmp_path):
    setup_logger(tmp_path / "a")
    print("10%\r20%", end="")
    setup_logger(tmp_path / "b")
    assert (tmp_path / "a" / "log.txt").read_text() == "20%"
    script = "import sys; from dassl.utils import setup_logger; setup_logger(sys.argv[1]);"
    script += "print('to be continued', end='')"
    subprocess.run([sys.executable, "-c", script, tmp_path / "c"], check=True)
    assert (tmp_path / "c" / "log.txt").read_text() == "to be continued"
