"""The curves are the tables' figures."""

from __future__ import annotations

import pytest

from vtclip.report.curves import curves_of, draw_curves
from vtclip.report.style import svg_of
from vtclip.tables.cells import Cell, Row
from vtclip.tables.layout import TableData

OURS, ZERO, THEIRS = Row("VTCLIP"), Row("ZeroshotCLIP"), Row("CoOp", "a paper")


def data() -> TableData:
    seeds = (1, 2)
    cells = [
        Cell(OURS, "Digits", 1, (60.0, 70.0), seeds),
        Cell(OURS, "Digits", 16, (80.0, 90.0), seeds),
        Cell(OURS, "Food101", 1, (50.0, 40.0), seeds),
        Cell(ZERO, "Digits", 0, (30.0,), (1,)),
        Cell(ZERO, "Food101", 0, (50.0,), (1,)),
        Cell(THEIRS, "Digits", 1, (65.0,)),
    ]
    return TableData([], cells, ["Digits", "Food101"], "tiny")


def test_the_average_comes_first_and_needs_every_dataset() -> None:
    panels = curves_of(data())
    assert list(panels) == ["average of 2", "Digits", "Food101"]
    average = {curve.row: curve for curve in panels["average of 2"]}
    assert average[OURS].shots == [1]
    assert average[OURS].means == [pytest.approx(55.0)]
    # the averages of both seeds are 55 and 55
    assert average[OURS].deviations == [pytest.approx(0.0)]
    assert average[ZERO].shots == [0]
    assert average[ZERO].means == [pytest.approx(40.0)]
    assert THEIRS not in average


def test_a_panel_has_means_and_deviations() -> None:
    digits = {curve.row: curve for curve in curves_of(data())["Digits"]}
    assert digits[OURS].shots == [1, 16]
    assert digits[OURS].means == [65.0, 85.0]
    assert digits[OURS].deviations == [5.0, 5.0]
    assert digits[THEIRS].deviations == [None]


def test_published_curves_are_dashed_and_zero_shot_is_a_star() -> None:
    figure = draw_curves(data())
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    assert lines["CoOp (published)"].get_linestyle() == "--"
    assert lines["VTCLIP"].get_linestyle() == "-"
    assert lines["ZeroshotCLIP"].get_marker() == "*"
    assert svg_of(figure).startswith("<svg")
