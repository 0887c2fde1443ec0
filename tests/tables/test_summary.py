from __future__ import annotations

from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.results import write_result
from vtclip.tables.logs import END_OF_TEST, END_OF_TRAINING
from vtclip.tables.summary import summarise, summarise_all

from .runs import lines_of_a_test, log_text, result, write_log, write_runs


def summary(directory: Path | str, keyword: str = "accuracy", interval: str = "std") -> str:
    return summarise(str(directory), keyword, END_OF_TRAINING, interval)


def write_logs(folder: Path, accuracies: list[float]) -> None:
    for seed, accuracy in enumerate(accuracies, start=1):
        write_log(folder / f"seed{seed}", log_text(accuracy))


def test_the_lines_of_coop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # mean (91.8 + 92.0 + 92.1) / 3; deviation sqrt(0.0467 / 3) = 0.1247
    write_logs(tmp_path / "out", [91.8, 92.0, 92.1])
    monkeypatch.chdir(tmp_path)
    assert summary("out").startswith(
        "Parsing files in out\n"
        "file: out/seed1/log.txt. accuracy: 91.80%. \n"
        "file: out/seed2/log.txt. accuracy: 92.00%. \n"
        "file: out/seed3/log.txt. accuracy: 92.10%. \n"
        "===\n"
        "Summary of directory: out\n"
        "* accuracy: 91.97% +- 0.12%\n"
        "===\n"
    )


def test_the_table_below(tmp_path: Path) -> None:
    write_logs(tmp_path, [91.8, 92.0, 92.1])
    assert summary(tmp_path).split("===\n\n")[1] == (
        "seed      accuracy %    macro F1 %    seconds\n"
        "------  ------------  ------------  ---------\n"
        "seed1          91.80         80.00       83.0\n"
        "seed2          92.00         80.00       83.0\n"
        "seed3          92.10         80.00       83.0"
    )


def test_the_interval_of_95_percent(tmp_path: Path) -> None:
    write_logs(tmp_path, [90.0, 91.0, 92.0, 93.0])
    # std sqrt(1.25) = 1.1180; 1.96 * 1.1180 / 2
    assert "* accuracy: 91.50% +- 1.10%" in summary(tmp_path, interval="ci95")


def test_a_trailing_slash_stays_as_it_is(tmp_path: Path) -> None:
    write_logs(tmp_path, [91.8])
    assert f"file: {tmp_path}/seed1/log.txt. " in summary(f"{tmp_path}/")


def test_hidden_folders_and_files_are_no_seeds(tmp_path: Path) -> None:
    write_logs(tmp_path, [91.8, 92.0, 92.1])
    write_log(tmp_path / ".cache", "nothing")
    write_log(tmp_path, "nothing", "notes.txt")
    assert "unfinished" not in summary(tmp_path)


def test_results_are_read_in_full_precision(tmp_path: Path) -> None:
    folder = write_runs(tmp_path, [91.849, 92.049, 92.149])
    for seed in (1, 2, 3):
        write_log(folder / f"seed{seed}", log_text(11.1))
    text = summary(folder)
    assert f"file: {folder}/seed1/result.json. accuracy: 91.85%. \n" in text
    assert "* accuracy: 92.02% +- 0.12%" in text
    assert "seed1          91.85         89.00       12.0" in text


@pytest.mark.parametrize(
    ("keyword", "line"),
    [("macro_f1", "* macro_f1: 89.00% +- 0.00%"), ("error", "* error: 8.00% +- 0.82%")],
)
def test_other_figures_of_results(tmp_path: Path, keyword: str, line: str) -> None:
    assert line in summary(write_runs(tmp_path, [91.0, 92.0, 93.0]), keyword)


def test_figures_that_results_do_not_have_come_from_logs(tmp_path: Path) -> None:
    folder = write_runs(tmp_path, [91.0])
    write_log(folder / "seed1", log_text(91.0) + "* average: 77.7%\n")
    assert "log.txt. average: 77.70%. " in summary(folder, "average")


def test_unfinished_seeds_are_named_with_what_they_lack(tmp_path: Path) -> None:
    write_logs(tmp_path, [91.8, 92.0])
    write_log(tmp_path / "seed3", log_text(0, finished=False))
    (tmp_path / "seed4").mkdir()
    write_log(tmp_path / "seed5", "{}", "result.json")
    lines = summary(tmp_path).splitlines()
    assert f'unfinished: {tmp_path}/seed3: log.txt: no line "Finish training"' in lines
    assert f"unfinished: {tmp_path}/seed4: neither result.json nor log.txt" in lines
    assert (
        f"unfinished: {tmp_path}/seed5: result.json: not a result of vtclip, but a file of another "
        "program; no log.txt"
    ) in lines
    assert f"warning: {tmp_path}: only 2 finished seeds" in lines


def test_the_newest_finished_log_is_read(tmp_path: Path) -> None:
    write_log(tmp_path / "seed1", log_text(70.0))
    write_log(tmp_path / "seed1", log_text(80.0), "log.txt-2024-01-01-10-00-00")
    write_log(tmp_path / "seed1", log_text(0, finished=False), "log.txt-2024-01-02-10-00-00")
    text = summary(tmp_path)
    assert "log.txt-2024-01-01-10-00-00. accuracy: 80.00%. " in text
    assert 'of no use: log.txt-2024-01-02-10-00-00: no line "Finish training"' in text


def test_several_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_logs(tmp_path / "out" / "a", [90.0, 91.0, 92.0])
    write_logs(tmp_path / "out" / "b", [80.0, 80.0, 80.0])
    write_log(tmp_path / "out" / "c" / "seed1", log_text(0, finished=False))
    (tmp_path / "out" / "d").mkdir()
    monkeypatch.chdir(tmp_path)
    text = summarise_all("out", "accuracy", END_OF_TRAINING, "std")
    coops, details = text.split("\n\n", 1)
    assert coops == (
        "Parsing files in out/a\n"
        "file: out/a/seed1/log.txt. accuracy: 90.00%. \n"
        "file: out/a/seed2/log.txt. accuracy: 91.00%. \n"
        "file: out/a/seed3/log.txt. accuracy: 92.00%. \n"
        "===\n"
        "Summary of directory: out/a\n"
        "* accuracy: 91.00% +- 0.82%\n"
        "===\n"
        "Parsing files in out/b\n"
        "file: out/b/seed1/log.txt. accuracy: 80.00%. \n"
        "file: out/b/seed2/log.txt. accuracy: 80.00%. \n"
        "file: out/b/seed3/log.txt. accuracy: 80.00%. \n"
        "===\n"
        "Summary of directory: out/b\n"
        "* accuracy: 80.00% +- 0.00%\n"
        "===\n"
        "Average performance\n"
        "* accuracy: 85.50%"
    )
    assert 'unfinished: out/c/seed1: log.txt: no line "Finish training"' in details
    assert "unfinished: out/d: no sub-folders" in details


def test_logs_of_tests(tmp_path: Path) -> None:
    write_log(tmp_path / "seed1", "\n".join(lines_of_a_test(58.2, 57.0)))
    text = summarise(str(tmp_path), "accuracy", END_OF_TEST, "std")
    assert "* accuracy: 58.20% +- 0.00%" in text


def test_nothing_found_says_which_file_lacks_what(tmp_path: Path) -> None:
    write_log(tmp_path / "seed1", log_text(0, finished=False))
    (tmp_path / "seed2").mkdir()
    with pytest.raises(UserError) as caught:
        summary(tmp_path)
    assert str(caught.value) == (
        f'Nothing found in {tmp_path}: {tmp_path}/seed1: log.txt: no line "Finish training"; '
        f"{tmp_path}/seed2: neither result.json nor log.txt."
    )


def test_nothing_found_guesses_what_was_meant(tmp_path: Path) -> None:
    write_logs(tmp_path / "exp" / "a", [90.0])
    (tmp_path / "empty").mkdir()
    for folder, hint in (
        (tmp_path / "exp", "--multi-exp"),
        (tmp_path / "exp" / "a" / "seed1", "give the folder above"),
        (tmp_path / "empty", "no sub-folder"),
        (tmp_path / "absent", "no such folder"),
    ):
        with pytest.raises(UserError, match=hint):
            summary(folder)


def test_a_collapsed_seed_is_pointed_out(tmp_path: Path) -> None:
    folder = write_runs(tmp_path, [90.0, 91.0, 12.0])
    warnings = [line for line in summary(folder).splitlines() if line.startswith("warning")]
    assert warnings == [
        "warning: VTCLIP on Digits at 16 shots, seed 3: 12.00%, far below its zero-shot 55.00% "
        f"({folder}/seed3)"
    ]


def test_seeds_of_different_runs_are_pointed_out(tmp_path: Path) -> None:
    write_result(tmp_path / "a", result(seed=1, shots=1))
    write_result(tmp_path / "b", result(seed=2, shots=2))
    write_result(tmp_path / "c", result(seed=3, shots=2, config_digest="other"))
    text = summary(tmp_path)
    assert f"the seeds: runs differ in shots: 1 ({tmp_path}/a); 2 ({tmp_path}/b and 1 more)" in text
    assert "runs differ in configuration: VTCLIP-2" in text


def test_what_draws_no_shots_needs_one_seed(tmp_path: Path) -> None:
    assert "warning" not in summary(write_runs(tmp_path, [55.0], trainer="Zero", shots=0))


def test_the_result_of_another_program_gives_way_to_the_log(tmp_path: Path) -> None:
    write_logs(tmp_path, [62.0, 63.0, 64.0])
    for seed in (1, 2, 3):
        write_log(tmp_path / f"seed{seed}", '{"metrics": {"acc1": 0.6}}', "result.json")
    text = summary(tmp_path)
    assert "* accuracy: 63.00% +- 0.82%" in text
    assert (
        f"note: {tmp_path}/seed2/log.txt was read, for result.json: not a result of vtclip, but a "
        "file of another program" in text.splitlines()
    )


def test_a_damaged_result_of_ours_does_not_give_way_to_the_log(tmp_path: Path) -> None:
    folder = write_runs(tmp_path, [91.0, 92.0])
    write_result(folder / "seed3", result(seed=3, accuracy=93.0, correct=0))
    write_log(folder / "seed3", log_text(93.0))
    text = summary(folder)
    assert "* accuracy: 91.50% +- 0.50%" in text
    assert f"unfinished: {folder}/seed3: result.json: accuracy is 93.00%, but 0 correct" in text


@pytest.mark.parametrize("figure", ["912.0", "-3.5", "nan", "inf", "1e999"])
def test_impossible_figures_of_logs_enter_no_mean(tmp_path: Path, figure: str) -> None:
    write_logs(tmp_path, [90.0, 92.0])
    write_log(tmp_path / "seed3", f"{log_text(80.0)}* accuracy: {figure}%\n")
    text = summary(tmp_path)
    assert "* accuracy: 91.00% +- 1.00%" in text and "seed3  " not in text
    line = f"unfinished: {tmp_path}/seed3: log.txt: accuracy is {figure}%, which is impossible"
    assert line in text.splitlines()


def test_logs_in_the_wording_of_2022(tmp_path: Path) -> None:
    text = log_text(62.5).replace("Finish training", "Finished training")
    for seed in (1, 2, 3):
        write_log(tmp_path / f"seed{seed}", text)
    with pytest.raises(UserError, match=r"older Dassl\? add --test-log"):
        summary(tmp_path)
    assert "* accuracy: 62.50%" in summarise(str(tmp_path), "accuracy", END_OF_TEST, "std")
