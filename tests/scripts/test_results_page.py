"""The tables that scripts.docs.results makes of results."""

from __future__ import annotations

from scripts.docs.results import losses, without_validation
from vtclip.tables.cells import Cell, Row
from vtclip.tables.layout import TableData


def table_of(cells: dict[str, dict[int, float]]) -> TableData:
    """Return a table of one dataset, of accuracies by method and shots."""
    found = [
        Cell(Row(method), "Digits", shots, (accuracy - 1, accuracy + 1))
        for method, accuracies in cells.items()
        for shots, accuracy in accuracies.items()
    ]
    return TableData([], found, ["Digits"], "tiny")


def values(table: str) -> list[list[str]]:
    """Return the cells of the lines of a table in Markdown, after its head."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_leads_are_over_the_best_other_method_at_each_number_of_shots_and_over_all() -> None:
    table = losses(
        table_of(
            {
                "ZeroshotCLIP": {0: 62.0},
                "GDA": {1: 60.0, 4: 80.0},
                "TaskRes": {1: 61.0, 4: 78.0},
                "RLA": {1: 61.5},
                "VTCLIP (fast)": {1: 60.0},
                "VTCLIP": {1: 61.0, 4: 82.0},
                "VTCLIPPlus": {1: 63.0, 4: 81.5},
            }
        )
    )
    assert values(table) == [
        ["VTCLIP", "-1.00 (ZeroshotCLIP)", "+2.00 (GDA)", "+1.50 (GDA)"],
        ["VTCLIP (fast)", "-2.00 (ZeroshotCLIP)", "", ""],
        ["VTCLIPPlus", "+1.00 (ZeroshotCLIP)", "+1.50 (GDA)", "+2.25 (GDA)"],
    ]


def test_fixed_values_stand_beside_what_they_change() -> None:
    searched = table_of({"GDA": {1: 60.0, 4: 80.0}})
    fixed = table_of({"GDA (fixed)": {1: 60.5, 4: 77.0}})
    assert values(without_validation(searched, fixed)) == [
        ["GDA (fixed)", "60.50 (+0.50)", "77.00 (-3.00)"]
    ]
