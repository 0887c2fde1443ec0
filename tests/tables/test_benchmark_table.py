from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from vtclip.errors import UserError
from vtclip.results import write_result
from vtclip.tables.benchmark_table import load_results
from vtclip.tables.layout import COSTS, parameters_text, seconds_text
from vtclip.tables.names import BENCHMARK
from vtclip.tables.published import Wanted
from vtclip.tables.render import BOLD, render

from .runs import log_text, result, write_log, write_runs


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    zero_shot = {"trainer": "ZeroshotCLIP", "shots": 0, "seconds": {"total": 0.84}}
    write_runs(tmp_path, [55.0], **zero_shot)
    write_runs(tmp_path, [60.0, 61.0, 62.0], shots=1, seconds={"total": 3.14})
    write_runs(tmp_path, [90.0, 91.0, 92.0], shots=16, seconds={"total": 12.4})
    return tmp_path


@pytest.fixture
def two_datasets(tmp_path: Path) -> Path:
    for dataset, plus in (("OxfordPets", 0.0), ("DescribableTextures", 10.0)):
        place: dict[str, Any] = {"dataset": dataset, "backbone": "RN50"}
        write_runs(tmp_path, [60.0 + plus], trainer="ZeroshotCLIP", shots=0, **place)
        for shots in (1, 16):
            accuracies = [70.0 + plus + shots + seed for seed in (0, 1, 2)]
            write_runs(tmp_path, accuracies, shots=shots, **place)
    write_runs(
        tmp_path,
        [65.0, 65.0, 65.0],
        trainer="CoOp",
        shots=16,
        dataset="OxfordPets",
        backbone="RN50",
    )
    return tmp_path


def shown(root: Path, output_format: str = "text", rows: str = "methods", **options: Any) -> str:
    return render(load_results(root, **options), output_format, rows, tuple(COSTS))


def test_one_dataset_is_one_table(digits: Path) -> None:
    assert shown(digits) == (
        "Digits, accuracy in %, mean ± std over seeds, backbone tiny (0123456789ab); "
        "shots (images per class) across\n"
        "\n"
        "method                   1            16    seeds    seconds     trainable\n"
        "                                                     per run    parameters\n"
        "------------  ------------  ------------  -------  ---------  ------------\n"
        "ZeroshotCLIP         55.00         55.00        1        0.8             0\n"
        "VTCLIP        61.00 ± 0.82  91.00 ± 0.82        3     3.1-12         1.58M\n"
        "\n"
        "selected on: last epoch (VTCLIP); nothing to select (ZeroshotCLIP)"
    )


def test_one_dataset_the_other_way(digits: Path) -> None:
    assert shown(digits, rows="shots").split("\n\n")[1] == (
        "shots                   ZeroshotCLIP        VTCLIP\n"
        "--------------------  --------------  ------------\n"
        "1                              55.00  61.00 ± 0.82\n"
        "16                             55.00  91.00 ± 0.82\n"
        "seeds                              1             3\n"
        "seconds per run                  0.8        3.1-12\n"
        "trainable parameters               0         1.58M"
    )


def test_a_table_a_shot_count(two_datasets: Path) -> None:
    one, body_one, sixteen, body_sixteen, below = shown(two_datasets).split("\n\n")
    assert one == "1 shot, accuracy in %, mean ± std over seeds, backbone RN50 (0123456789ab)"
    assert body_one.splitlines()[2:] == [
        "------------  ------------  ---------------------  --------------  -------  ---------"
        "  ------------",
        "ZeroshotCLIP         60.00                  70.00           65.00        1         12"
        "             0",
        "VTCLIP        72.00 ± 0.82           82.00 ± 0.82           77.00        3         12"
        "         1.58M",
    ]
    assert body_one.split()[:6] == [
        "method", "OxfordPets", "DescribableTextures", "average", "of", "2",
    ]  # fmt: skip
    assert sixteen.startswith("16 shots, ")
    rows = {line.split()[0]: line.split()[1:] for line in body_sixteen.splitlines()[3:]}
    # no figure on one dataset: no average
    assert rows["CoOp"] == ["65.00", "±", "0.00", "3", "12", "1.58M"]
    assert rows["VTCLIP"][6] == "92.00"
    assert below.splitlines() == [
        "selected on: last epoch (CoOp, VTCLIP); nothing to select (ZeroshotCLIP)",
        "missing: CoOp at 1 shot: OxfordPets, DescribableTextures",
        "missing: CoOp at 16 shots: DescribableTextures",
    ]


def test_a_table_a_method(two_datasets: Path) -> None:
    parts = shown(two_datasets, rows="shots").split("\n\n")
    titles = [part.split(",")[0] for part in parts[:-1:2]]
    assert titles == ["ZeroshotCLIP", "CoOp", "VTCLIP"]
    assert [line.split()[0] for line in parts[1].splitlines()[3:]] == ["0"]
    assert [line.split()[0] for line in parts[3].splitlines()[3:]] == ["16"]
    assert [line.split()[0] for line in parts[5].splitlines()[3:]] == ["1", "16"]


def test_the_average_of_all_eleven_has_no_number(tmp_path: Path) -> None:
    for number, dataset in enumerate(BENCHMARK):
        write_runs(tmp_path, [50.0 + number], dataset=dataset)
    text = shown(tmp_path)
    assert "average" in text and "average of" not in text
    (line,) = (line for line in text.splitlines() if line.startswith("VTCLIP"))
    assert line.split()[12:13] == ["55.00†"]
    write_runs(tmp_path, [50.0])
    assert "average of 12" in shown(tmp_path)


def test_markdown(digits: Path) -> None:
    assert shown(digits, "markdown").splitlines()[2:] == [
        "| method       |                1 |               16 |   seeds |   seconds per run "
        "|   trainable parameters |",
        "|:-------------|-----------------:|-----------------:|--------:|------------------:"
        "|-----------------------:|",
        "| ZeroshotCLIP |            55.00 |            55.00 |       1 |               0.8 "
        "|                      0 |",
        "| VTCLIP       | **61.00** ± 0.82 | **91.00** ± 0.82 |       3 |            3.1-12 "
        "|                  1.58M |",
        "",
        f"- {BOLD}",
        "- selected on: last epoch (VTCLIP); nothing to select (ZeroshotCLIP)",
    ]


def test_latex_escapes(tmp_path: Path) -> None:
    write_runs(tmp_path, [90.0, 91.0, 92.0], trainer="My_Trainer")
    text = shown(tmp_path, "latex")
    assert r"My\_Trainer & 91.00 $\pm$ 0.82 &" in text
    assert r"\toprule" in text and "±" not in text.split("toprule")[1].split("bottomrule")[0]
    outside = text.split("\\begin{table}")[0] + text.split("\\end{table}")[-1]
    assert all(line.startswith("%") for line in outside.splitlines() if line)


def test_csv_is_a_cell_a_line_in_full_precision(two_datasets: Path) -> None:
    write_runs(two_datasets, [1 / 3 + 70, 70.0], shots=4, dataset="OxfordPets", backbone="RN50")
    lines = list(csv.DictReader(io.StringIO(shown(two_datasets, "csv"))))
    (cell,) = (line for line in lines if line["shots"] == "4")
    assert float(cell["mean"]) == pytest.approx(70 + 1 / 6, abs=1e-12)
    assert float(cell["std"]) == pytest.approx(1 / 6, abs=1e-12)
    assert cell["seeds"] == "1 2"
    assert [float(v) for v in cell["values"].split()] == [1 / 3 + 70, 70.0]
    assert (cell["origin"], cell["backbone"]) == ("run", "RN50")
    assert cell["trainable_parameters"] == "1580032"
    order = [(line["shots"], line["method"]) for line in lines]
    assert order == sorted(order, key=lambda pair: int(pair[0]))
    (average,) = (x for x in lines if x["dataset"] == "average of 2" and x["shots"] == "1")
    assert float(average["mean"]) == pytest.approx(77.0)
    by_method = csv.DictReader(io.StringIO(shown(two_datasets, "csv", "shots")))
    methods = [line["method"] for line in by_method]
    assert methods == sorted(methods, key=["ZeroshotCLIP", "CoOp", "VTCLIP"].index)


def test_json_has_the_notes_too(two_datasets: Path) -> None:
    value = json.loads(shown(two_datasets, "json"))
    assert value["missing"][-1] == "CoOp at 16 shots: DescribableTextures"
    assert value["warnings"] == [] and value["mixed"] == []
    (cell,) = (c for c in value["cells"] if c["method"] == "CoOp")
    assert cell["values"] == [65.0, 65.0, 65.0] and cell["selected_on"] == "last epoch"


def test_published_figures_are_marked_and_sourced(tmp_path: Path) -> None:
    place: dict[str, Any] = {"dataset": "ImageNet", "backbone": "RN50"}
    write_runs(tmp_path, [63.0, 63.5, 64.0], **place)
    text = shown(tmp_path, published=Wanted())
    lines = text.splitlines()
    source = "OpenGVLab/CaFo@a805a2ae:CaFo_arXiv.pdf Table 2"
    assert lines[5].startswith("VTCLIP  ") and lines[6].startswith("VTCLIP, published")
    (listed,) = (line for line in lines if line.endswith(f"published, not re-run: {source}"))
    number = listed.split()[0]
    (row,) = (line for line in lines if line.startswith(f"VTCLIP, published {number}"))
    assert row.split()[-1] == "63.92"
    (tip,) = (line for line in lines if line.startswith("Tip-Adapter-F, published"))
    assert tip.split()[-1] == "65.51‡"
    numbers = [line.split("]")[0] + "]" for line in lines if "] published, not re-run" in line]
    assert numbers == [f"[{i}]" for i in range(1, len(numbers) + 1)]
    assert all(f"published {number} " in text for number in numbers)
    records = list(csv.DictReader(io.StringIO(shown(tmp_path, "csv", published=Wanted()))))
    (record,) = (r for r in records if r["origin"] != "run" and r["method"] == "VTCLIP")
    assert record["origin"] == "published, not re-run" and record["source"] == source
    assert (record["backbone"], record["std"], record["seeds"]) == ("RN50", "", "")


def test_published_figures_that_do_not_belong_stay_out(digits: Path) -> None:
    text = shown(digits, published=Wanted())
    assert "note: no published result of tiny on these datasets" in text
    assert "published [" not in text
    with pytest.raises(UserError, match="accuracies"):
        load_results(digits, "macro_f1", published=Wanted())


def test_runs_that_differ_are_refused_unless_told(digits: Path) -> None:
    other = write_runs(digits / "other", [90.0], total=50_000, trainer="CoOp")
    with pytest.raises(UserError) as caught:
        load_results(digits)
    said = str(caught.value)
    assert "Digits: runs differ in number of test images: 100000 (" in said
    assert f"50000 ({other}/seed1)" in said
    assert "\n" not in said and "--mix" in said
    text = shown(digits, mix=True)
    assert "mixed: Digits: runs differ in number of test images" in text


def test_an_evaluation_of_a_run_is_no_second_seed(digits: Path) -> None:
    trained = digits / "Digits" / "VTCLIP" / "tiny_16shots" / "seed1"
    write_result(digits / "eval", result(seed=1, accuracy=90.0, evaluated=str(trained)))
    text = shown(digits)
    assert "91.00 ± 0.82" in text
    assert f"note: repeats of runs in the table, left out: {digits}/eval" in text


def test_a_run_without_shots_counts_once_however_often_it_was_made(digits: Path) -> None:
    again = digits / "again"
    write_result(again, result(trainer="ZeroshotCLIP", shots=0, accuracy=55.0))
    assert f"note: repeats of runs in the table, left out: {again}" in shown(digits)
    write_result(again, result(trainer="ZeroshotCLIP", shots=0, accuracy=55.1))
    with pytest.raises(UserError, match="seed 1 is there 2 times"):
        load_results(digits)


def test_evaluations_elsewhere_are_runs_of_their_own(tmp_path: Path) -> None:
    write_runs(tmp_path, [40.0, 41.0, 42.0], dataset="EuroSAT", evaluated="/elsewhere/seed1")
    assert "41.00 ± 0.82" in shown(tmp_path)


def test_unfinished_runs_and_unofficial_splits_are_named(tmp_path: Path) -> None:
    write_runs(tmp_path, [90.0, 91.0, 92.0], comparable=False)
    log = write_log(tmp_path / "dead" / "seed1", log_text(0, finished=False))
    write_log(tmp_path / ".hidden", "")
    assert shown(tmp_path).splitlines()[-2:] == [
        "note: not on the official split, comparable with no other: Digits",
        f"note: a log but no result, left out: {log.parent}",
    ]


def test_results_of_other_programs_are_ignored_with_a_note(digits: Path) -> None:
    foreign = write_log(digits / "other", '{"metrics": {"acc1": 0.6}}', "result.json")
    write_log(digits / "other", log_text(90.0))
    text = shown(digits)
    assert f"note: result.json of another program, ignored: {foreign}" in text.splitlines()
    assert "91.00 ± 0.82" in text and "warning" not in text


def test_one_damaged_result_among_many_is_left_out_with_a_warning(digits: Path) -> None:
    damaged = write_result(digits / "damaged", result(seed=4, correct=1))
    cut = write_log(digits / "cut", '{"trainer": "VTC', "result.json")
    old = write_log(digits / "old", '{"schema": 1, "trainer": "VTCLIP"}', "result.json")
    pipe = digits / "pipe" / "result.json"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    lines = shown(digits).splitlines()
    for path, what in (
        (damaged, "accuracy is 90.00%, but 1 correct of 100000 images are 0.00%"),
        (cut, "not JSON"),
        (old, "a result of schema 1, not of schema 2"),
        (pipe, "not a regular file"),
    ):
        assert sum(line.startswith(f"warning: left out, {path}: {what}") for line in lines) == 1


def test_no_run_is_dropped_without_a_note(digits: Path, tmp_path_factory) -> None:
    zero = digits / "zero"
    write_result(zero, result(shots=0, accuracy=88.0, selected_on="last epoch"))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_runs(elsewhere, [40.0])
    (digits / "link").symlink_to(elsewhere, target_is_directory=True)
    (digits / "within").symlink_to(digits / "Digits", target_is_directory=True)
    lines = shown(digits).splitlines()
    assert f"note: links to other folders, not followed: {digits}/link" in lines
    assert f"note: 0 shots of a method that uses shots, no column for them: {zero}" in lines


def test_warnings_stand_below(tmp_path: Path) -> None:
    write_runs(tmp_path, [90.0, 30.0])
    assert [line for line in shown(tmp_path).splitlines() if line.startswith("warning")] == [
        "warning: VTCLIP on Digits at 16 shots, seed 2: 30.00%, far below its zero-shot 55.00% "
        f"({tmp_path}/Digits/VTCLIP/tiny_16shots/seed2)",
        "warning: VTCLIP: only 2 seeds: Digits at 16 shots",
    ]


def test_other_figures_and_intervals(digits: Path) -> None:
    assert "89.00 ± 0.00" in shown(digits, keyword="macro_f1")
    # 1.96 * 0.8165 / sqrt(3)
    assert "mean ± 95 % interval" in shown(digits, interval="ci95")
    assert "91.00 ± 0.92" in shown(digits, interval="ci95")
    with pytest.raises(UserError, match="macro_f1"):
        load_results(digits, "macro")


def test_no_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no result\.json anywhere below"):
        load_results(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        load_results(tmp_path / "absent")
    foreign = write_log(tmp_path / "seed0", "{}", "result.json")
    with pytest.raises(UserError, match=f"but of other programs .{foreign}"):
        load_results(tmp_path)
    write_log(tmp_path / "seed1", "{", "result.json")
    with pytest.raises(UserError, match="not JSON"):
        load_results(tmp_path)


def test_all_training_images_come_last(tmp_path: Path) -> None:
    for shots in (-1, 16, 1):
        write_runs(tmp_path, [80.0 + shots], shots=shots)
    assert shown(tmp_path).splitlines()[2].split()[:4] == ["method", "1", "16", "all"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (512, "512"), (999, "999"), (1000, "1k"), (12_345, "12.3k"), (999_999, "1M"),
     (1_580_032, "1.58M"), (2_100_000_000, "2.1G")],
)  # fmt: skip
def test_parameters(number: int, text: str) -> None:
    assert parameters_text(number) == text


def test_seconds() -> None:
    assert [seconds_text(s) for s in (0.04, 9.94, 9.96, 123.4)] == ["0.0", "9.9", "10", "123"]
