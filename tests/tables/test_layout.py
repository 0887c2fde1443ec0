"""What stands in the places of a table: the best, marks, and the columns on demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.tables.benchmark_table import load_results
from vtclip.tables.layout import columns_of, lay_out
from vtclip.tables.render import render

from .runs import write_runs


def best(root: Path, rows: str = "methods", keyword: str = "accuracy") -> list[str]:
    """The entries in bold, by table and line."""
    tables = lay_out(load_results(root, keyword), rows)
    lines = [line for table in tables for line in table.rows]
    return [f"{line[0]}: {entry.text}" for line in lines for entry in line if entry.best]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_runs(tmp_path, [55.0], trainer="ZeroshotCLIP", shots=0)
    for shots, ours, theirs in ((1, 50.0, 52.0), (16, 90.0, 80.0)):
        write_runs(tmp_path, [ours, ours + 1], shots=shots)
        write_runs(tmp_path, [theirs, theirs], trainer="CoOp", shots=shots)
    return tmp_path


def test_the_best_of_each_shot_count_counts_methods_without_shots(runs: Path) -> None:
    assert best(runs) == ["ZeroshotCLIP: 55.00", "VTCLIP: 90.50"]
    assert best(runs, "shots") == ["1: 55.00", "16: 90.50"]


def test_where_lower_is_better_the_lowest_is_the_best(runs: Path) -> None:
    assert best(runs, keyword="error") == ["ZeroshotCLIP: 45.00", "VTCLIP: 9.50"]


def test_all_that_look_equal_are_the_best_and_one_alone_is_none(tmp_path: Path) -> None:
    write_runs(tmp_path, [80.001, 80.001], trainer="CoOp")
    assert best(tmp_path) == []
    write_runs(tmp_path, [80.004, 80.004])
    assert best(tmp_path) == ["CoOp: 80.00", "VTCLIP: 80.00"]


def test_the_best_average(tmp_path: Path) -> None:
    for dataset, ours, theirs in (("OxfordPets", 80.0, 90.0), ("EuroSAT", 80.0, 60.0)):
        write_runs(tmp_path, [ours, ours], dataset=dataset)
        write_runs(tmp_path, [theirs, theirs], trainer="CoOp", dataset=dataset)
    assert best(tmp_path) == ["CoOp: 90.00", "VTCLIP: 80.00", "VTCLIP: 80.00"]
    # one table per method: bold still compares methods
    assert best(tmp_path, "shots") == ["16: 90.00", "16: 80.00", "16: 80.00"]


def test_one_seed_is_marked_where_images_are_drawn(runs: Path) -> None:
    write_runs(runs, [70.0], trainer="SSText", shots=16)
    text = render(load_results(runs), "text", "methods")
    assert text.count("70.00†") == 1 and "55.00†" not in text and "90.50 ± 0.50 " in text
    assert "† one seed, so that no deviation is known" in text.splitlines()
    # nothing is bold on a terminal
    assert "*" not in text and "bold" not in text


def test_an_average_of_one_seed_is_marked(tmp_path: Path) -> None:
    write_runs(tmp_path, [70.0], dataset="EuroSAT")
    write_runs(tmp_path, [80.0, 80.0], dataset="Food101")
    (table,) = lay_out(load_results(tmp_path), "methods")
    assert [str(entry) for entry in table.rows[0]] == [
        "VTCLIP", "80.00 ± 0.00", "70.00†", "75.00†", "1-2",
    ]  # fmt: skip


def test_a_table_without_marks_does_not_explain_them(runs: Path) -> None:
    assert "†" not in render(load_results(runs), "text", "methods")


def test_columns_on_demand(runs: Path) -> None:
    data = load_results(runs)
    heads = {
        columns: lay_out(data, "methods", columns_of(columns))[0].header
        for columns in ("none", "seeds", "parameters, seconds")
    }
    assert heads == {
        "none": ["method", "1", "16"],
        "seeds": ["method", "1", "16", "seeds"],
        "parameters, seconds": ["method", "1", "16", "seconds per run", "trainable parameters"],
    }
    assert lay_out(data, "methods")[0].header == heads["seeds"]
    texts = [str(entry) for entry in lay_out(data, "methods", columns_of("parameters"))[0].rows[-1]]
    assert texts == ["VTCLIP", "50.50 ± 0.50", "90.50 ± 0.50", "1.58M"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("second", "did you mean seconds.*none"),
        ("", "--columns: unknown name"),
        ("none,seeds", "unknown name 'none'"),
        ("seeds,seeds", "names a column twice"),
    ],
)
def test_columns_that_there_are_not(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        columns_of(text)
