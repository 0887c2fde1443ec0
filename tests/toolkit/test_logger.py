import logging
import re
import sys

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
