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
        r"\begin{tabular}{lrr}",
    ]
    end = lines.index(r"\end{tabular}")
    assert lines[end + 1] == r"\end{table}"


def test_the_body_of_a_latex_table_to_the_letter(tmp_path: Path) -> None:
    write_runs(tmp_path, [90.0, 91.0, 92.0], trainer="My_Trainer")
    write_runs(tmp_path, [80.0], trainer="A&B")
    text = render(load_results(tmp_path), "latex", "methods")
    body = text[text.index(r"\toprule") : text.index(r"\end{table}")]
    assert body.splitlines() == [
        r"\toprule",
        r"method      &                        16 & seeds \\",
        r"\midrule",
        r"A\&B        &         80.00$^{\dagger}$ &     1 \\",
        r"My\_Trainer & \textbf{91.00} $\pm$ 0.82 &     3 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip{\footnotesize $^{\dagger}$ one seed, so that no deviation is known.}",
    ]
