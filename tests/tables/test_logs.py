from __future__ import annotations

from pathlib import Path

import pytest

from vtclip.tables.logs import END_OF_TEST, END_OF_TRAINING, log_files, read_log

from .runs import lines_of_a_test, log_text, write_log


def test_figures_count_after_the_end_of_training_only(tmp_path: Path) -> None:
    reading = read_log(write_log(tmp_path, log_text(85.8)), {"accuracy"}, END_OF_TRAINING)
    assert reading.values == {"accuracy": 85.8}
    assert reading.seconds == 83.0
    assert reading.lacks("accuracy", END_OF_TRAINING) == ""


def test_of_several_figures_the_last_counts(tmp_path: Path) -> None:
    text = log_text(85.8) + "\n".join(lines_of_a_test(61.5, 60.0))
    assert read_log(write_log(tmp_path, text), {"accuracy"}, END_OF_TRAINING).values == {
        "accuracy": 61.5
    }


def test_before_the_end_signal_nothing_counts(tmp_path: Path) -> None:
    reading = read_log(
        write_log(tmp_path, log_text(0, finished=False)), {"accuracy"}, END_OF_TRAINING
    )
    assert reading.values == {}
    assert reading.lacks("accuracy", END_OF_TRAINING) == 'no line "Finish training"'


def test_a_log_of_a_test_alone_is_read_when_asked(tmp_path: Path) -> None:
    path = write_log(tmp_path, "\n".join(lines_of_a_test(58.0, 57.0)))
    assert read_log(path, {"accuracy"}, END_OF_TEST).values == {"accuracy": 58.0}
    lacks = read_log(path, {"accuracy"}, END_OF_TRAINING).lacks("accuracy", END_OF_TRAINING)
    assert "--test-log" in lacks


def test_a_keyword_that_is_not_there_is_named(tmp_path: Path) -> None:
    reading = read_log(write_log(tmp_path, log_text(85.8)), {"recall"}, END_OF_TRAINING)
    assert reading.lacks("recall", END_OF_TRAINING) == 'no "* recall: ...%" after "Finish training"'


def test_a_keyword_is_no_pattern(tmp_path: Path) -> None:
    assert not read_log(write_log(tmp_path, log_text(85.8)), {"acc.*"}, END_OF_TRAINING).values


@pytest.mark.parametrize(
    ("text", "value"),
    [("8.58e+1", 85.8), ("1e-05", 1e-5), ("-3.5", None), ("1.2.3", None), ("1_0", None)],
)
def test_numbers(tmp_path: Path, text: str, value: float | None) -> None:
    path = write_log(tmp_path, f"Finish training\n* accuracy: {text}%\n")
    assert read_log(path, {"accuracy"}, END_OF_TRAINING).values.get("accuracy") == value


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:00:09", 9.0),
        ("12:00:01", 43201.0),
        ("1 day, 1:00:00", 90000.0),
        (f"{'9' * 5000} days, 1:00:00", None),
    ],
)
def test_elapsed_time(tmp_path: Path, text: str, seconds: float | None) -> None:
    path = write_log(tmp_path, f"Finish training\nElapsed: {text}\n")
    assert read_log(path, {"accuracy"}, END_OF_TRAINING).seconds == seconds


def test_logs_of_a_folder_are_ordered_by_date(tmp_path: Path) -> None:
    names = ["log.txt-2024-02-01-00-00-00", "log.txt", "log.txt-2023-12-31-23-59-59", "other.txt"]
    for name in names:
        write_log(tmp_path, "", name)
    assert [path.name for path in log_files(tmp_path)] == [names[1], names[2], names[0]]


@pytest.mark.parametrize("keyword", ["accuracy", "macro_f1", "error"])
@pytest.mark.parametrize("text", ["100.1", "-0.1", "nan", "inf", "1e999", "1.2.3", "x" * 9999])
def test_impossible_percentages(tmp_path: Path, keyword: str, text: str) -> None:
    path = write_log(tmp_path, f"Finish training\n* {keyword}: 5%\n* {keyword}: {text}%\n")
    reading = read_log(path, {keyword}, END_OF_TRAINING)
    assert reading.values == {}
    lacks = reading.lacks(keyword, END_OF_TRAINING)
    assert lacks.startswith(f"{keyword} is {text[:9]}") and len(lacks) < 100


def test_other_figures_need_only_be_finite(tmp_path: Path) -> None:
    path = write_log(tmp_path, "Finish training\n* gain: -3.5%\n* loss: 1e999%\n")
    reading = read_log(path, {"gain", "loss"}, END_OF_TRAINING)
    assert reading.values == {"gain": -3.5}
    assert reading.impossible == ["loss is 1e999%"]


@pytest.mark.parametrize("line", ["Finished training", "Do evaluation on test set"])
def test_the_old_wording_is_pointed_out(tmp_path: Path, line: str) -> None:
    text = "\n".join(["epoch [1/2] batch", line, *lines_of_a_test(62.5, 61.0)])
    reading = read_log(write_log(tmp_path, text), {"accuracy"}, END_OF_TRAINING)
    assert "add --test-log" in reading.lacks("accuracy", END_OF_TRAINING)
