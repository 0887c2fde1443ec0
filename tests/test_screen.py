"""What the screen shows, and what the log gets beside it."""

from __future__ import annotations

import io
import re
import sys
from functools import partial
from pathlib import Path

import pytest

from vtclip import screen
from vtclip.errors import UserError
from vtclip.run_log import logged


class Terminal(io.StringIO):
    """A terminal of endless width that keeps what it was sent."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """Return the lines that it shows in the end."""
        return rendered(self.getvalue())


def rendered(text: str) -> list[str]:
    """Return the lines that a terminal shows after it was sent a text of one-line bars."""
    lines, column = [""], 0
    for sign in text:
        if sign == "\n":
            lines.append("")
        elif sign != "\r":
            lines[-1] = lines[-1][:column].ljust(column) + sign + lines[-1][column + 1 :]
        column = 0 if sign in "\r\n" else column + 1
    return [line.rstrip() for line in lines if line.rstrip()]


TRAINING = r"training:  25%\|[^|]+\| 1/4 steps, epoch 1/2, loss 0\.7, [\d:?]+ left"


def test_the_terminal_of_the_tests() -> None:
    assert rendered("bar 10%\rbar 99%\r       \rsaid\r\nabc\rx\n") == ["said", "xbc"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    return now


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Let a test print to a terminal, with bars that are drawn at every step."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(screen, "SECONDS_BEFORE_BAR", 0.0)
    monkeypatch.setattr(screen, "tqdm", partial(screen.tqdm, mininterval=0))
    return terminal


@pytest.mark.parametrize("verbose", [False, True])
def test_people_get_what_is_said_and_the_log_gets_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    with logged(str(tmp_path), verbose=verbose):
        print("for the log")
        screen.say("for people")
        screen.warn("Warning: for readers")
        print("from a library", file=sys.stderr)
    out, err = capsys.readouterr()
    assert out == ("for the log\nfor people\n" if verbose else "for people\n")
    assert err == "Warning: for readers\nfrom a library\n"
    log = (tmp_path / "log.txt").read_text()
    assert log == "for the log\nfor people\nWarning: for readers\nfrom a library\n"


def test_without_a_screen_of_its_own_all_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print("of Dassl")
    screen.say("ours")
    screen.warn("Warning: ours")
    epochs = screen.epochs_progress(0, 2, 3)
    epochs.advance(6)
    epochs.close()
    assert capsys.readouterr() == ("of Dassl\nours\nWarning: ours\n", "")


def test_an_error_is_the_last_line_of_the_log_of_its_run(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("of the run before\n")
    with pytest.raises(UserError), logged(str(tmp_path)):
        print("first")
        raise UserError("KEY: wrong.")
    (log,) = tmp_path.glob("log.txt-*")
    assert log.read_text() == "first\nerror: KEY: wrong.\n"
    assert (tmp_path / "log.txt").read_text() == "of the run before\n"


def test_bars_of_others_leave_no_carriage_return_in_the_log(tmp_path: Path, capsys) -> None:
    with logged(str(tmp_path)):
        for share in ("10%", "50%", "100%"):
            sys.stderr.write(f"\rfetching {share}")
        sys.stderr.write("\nunfinished")
    assert (tmp_path / "log.txt").read_bytes() == b"fetching 100%\nunfinished\n"
    assert "\rfetching 50%" in capsys.readouterr().err


def test_signs_that_the_screen_does_not_have(tmp_path: Path, monkeypatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with logged(str(tmp_path)):
        screen.say("caf\u00e9")
    assert raw.getvalue() == b"caf\\xe9\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "caf\u00e9\n"


def test_a_line_per_minute_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with logged(str(tmp_path)), screen.progress("encoding train", 1200, "images") as bar:
        for second in range(0, 300, 10):
            clock[0] = second
            bar.advance(40, "all well" if second > 200 else "")
    # 60 s for 7 x 40 images, so 197 s for 920; 120 s for 13 x 40, so 157 s for 680; and so on
    assert capsys.readouterr() == (
        "encoding train: 280 of 1,200 images, 3 min left\n"
        "encoding train: 520 of 1,200 images, 3 min left\n"
        "encoding train: 760 of 1,200 images, 2 min left\n"
        "encoding train: 1,000 of 1,200 images, all well, 48 s left\n",
        "",
    )
    assert "encoding train: 280 of 1,200 images" in (tmp_path / "log.txt").read_text()


def test_a_task_of_unknown_length_says_how_long_it_takes(clock: list[float], capsys) -> None:
    with screen.progress("unpacking x.zip", None, "files") as files:
        for second in (30, 61, 3720):
            clock[0] = second
            files.advance(700)
    assert capsys.readouterr().out.splitlines() == [
        "unpacking x.zip: 1,400 files, 1 min so far",
        "unpacking x.zip: 2,100 files, 1 h 2 min so far",
    ]


def test_bytes_are_shown_in_megabytes(clock: list[float], capsys) -> None:
    with screen.progress("downloading x.zip", 2_000_000_000, screen.BYTES, done=500_000) as known:
        clock[0] = 100
        known.advance(499_500_000)
    with screen.progress("downloading y", None, screen.BYTES) as unknown:
        clock[0] = 200
        unknown.advance(1_250_000)
    # 100 s for 499.5 MB, so 300 s for 1,500
    assert capsys.readouterr().out.splitlines() == [
        "downloading x.zip: 500.0 of 2,000.0 MB, 5 min left",
        "downloading y: 1.2 MB, 2 min so far",
    ]


@pytest.mark.parametrize(
    ("total", "unit", "bar"),
    [
        (2_000_000, screen.BYTES, r"x:  75%\|[^|]+\| 1\.50M/2\.00MB, [\d:?]+ left"),
        (None, screen.BYTES, r"x: 1\.50MB, 00:00"),
        (None, "files", r"x: 1500000 files, 00:00"),
    ],
)
def test_bars_of_bytes_and_of_unknown_length(
    total: int | None, unit: str, bar: str, monkeypatch
) -> None:
    terminal = on_a_terminal(monkeypatch)
    with screen.progress("x", total, unit) as shown:
        shown.advance(1_500_000)
        (line,) = terminal.shown()
    assert re.fullmatch(bar, line)
    assert terminal.shown() == []


def test_the_time_left_counts_what_this_process_did(clock: list[float], capsys) -> None:
    with screen.taken_over():
        epochs = screen.epochs_progress(8, 10, 5)
        clock[0] = 70.0
        epochs.advance(5, "epoch 9/10, loss 0.5000")
        epochs.close()
    assert capsys.readouterr().out == (
        "training: 45 of 50 steps, epoch 9/10, loss 0.5000, 1 min left\n"
    )


def test_one_bar_at_a_time_and_none_in_the_end(tmp_path: Path, monkeypatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with logged(str(tmp_path)):
        screen.say("VTCLIP on Digits")
        epochs = screen.epochs_progress(0, 2, 2)
        epochs.advance(1, "epoch 1/2, loss 0.7")
        assert len(terminal.shown()) == 2
        assert re.fullmatch(TRAINING, terminal.shown()[-1])
        for number in screen.counted(range(3), "testing", "batches"):
            screen.say("a note")
            assert terminal.shown()[-2] == "a note"
            assert terminal.shown()[-1].startswith("testing:")
            assert len(terminal.shown()) == number + 3
        assert re.fullmatch(TRAINING, terminal.shown()[-1])
        print("for the log")
        epochs.close()
        screen.say("accuracy 50.00 %")
    assert terminal.shown() == ["VTCLIP on Digits", *["a note"] * 3, "accuracy 50.00 %"]
    assert "\r" not in (tmp_path / "log.txt").read_text()


def test_an_error_leaves_no_bar_behind(tmp_path: Path, monkeypatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with pytest.raises(UserError), logged(str(tmp_path)):
        screen.epochs_progress(0, 2, 2).advance(1, "epoch 1/2")
        raise UserError("KEY: wrong.")
    assert terminal.shown() == [] and "epoch 1/2" in terminal.getvalue()


def test_parts_count_with_the_whole(monkeypatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with screen.progress("encoding train, 3 views", 30, "images", whole=True) as whole:
        for view in range(3):
            if view != 1:  # the second is in the cache
                with screen.progress(f"encoding train, view {view}", 10, "images") as part:
                    part.advance(4)
                    part.advance(6)
            whole.reach(10 * (view + 1))
    states = re.findall(r"(encoding[^:]*): +(\d+)%\|[^|]*\| (\d+)/30 images", terminal.getvalue())
    assert {name for name, _, _ in states} == {"encoding train, 3 views"}
    assert states[-1][1:] == ("100", "30")
