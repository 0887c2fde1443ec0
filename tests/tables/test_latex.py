from __future__ import annotations

from pathlib import Path

from vtclip.tables.benchmark_table import load_results
from vtclip.tables.render import render

from .runs import write_runs


def test_a_latex_table_has_a_caption_and_a_label(tmp_path: Path) -> None:
    write_runs(tmp_path, [90.0, 91.0, 92.0], dataset="My_Digits", backbone="tiny_1")
    lines = render(load_results(tmp_path), "latex", "methods").splitlines()
    assert lines[:5] == [
        r"\begin{table}",
        r"\centering",
        r"\caption{My\_Digits, accuracy in \%, mean $\pm$ std over seeds, backbone tiny\_1 "
        r"(0123456789ab); shots (images per class) across}",
        r"\label{tab:my-digits}",
        r"\begin{tabular}{lrrrr}",
    ]
    end = lines.index(r"\end{tabular}")
    assert lines[end + 1] == r"\end{table}"
