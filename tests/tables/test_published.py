from __future__ import annotations

from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.tables.names import BENCHMARK
from vtclip.tables.published import COLUMNS, PublishedResult, published_cells, read_published

from .runs import run

HEADER = ",".join(COLUMNS) + "\n"


def test_the_figures_in_the_package() -> None:
    figures = read_published()
    assert len(figures) == 1040
    assert all(figure.source for figure in figures)
    assert {figure.dataset for figure in figures} == {*BENCHMARK, "average"}
    vtclip = {f.shots: f.accuracy for f in figures if f.method == "VTCLIP"}
    assert vtclip == {1: 60.53, 2: 61.29, 4: 62.02, 8: 62.81, 16: 63.92}


FIGURES = [
    PublishedResult("A", "RN50", "OxfordPets", 1, 86.0, "s"),
    PublishedResult("A", "RN50", "OxfordPets", 16, 89.0, "s"),
    PublishedResult("A", "ViT-B/16", "OxfordPets", 16, 92.0, "s"),
    PublishedResult("A", "RN50", "UCF101", 16, 77.0, "s"),
    PublishedResult("Zero", "RN50", "OxfordPets", 0, 85.0, "s"),
    PublishedResult("Both", "RN50", "OxfordPets", 0, 84.0, "s"),
    PublishedResult("Both", "RN50", "OxfordPets", 8, 88.0, "s"),
    PublishedResult("A", "RN50", "average", 16, 76.0, "s"),
]


def test_only_the_same_backbone_datasets_and_shots() -> None:
    cells = published_cells(FIGURES, [run(backbone="RN50", dataset="OxfordPets")])
    assert [(c.row.method, c.dataset, c.shots, c.mean) for c in cells] == [
        ("A", "OxfordPets", 16, 89.0),
        ("Zero", "OxfordPets", 0, 85.0),
    ]
    vit = published_cells(FIGURES, [run(backbone="vit_b16", dataset="OxfordPets")])
    assert [cell.mean for cell in vit] == [92.0]


def test_nothing_beside_other_test_sets_or_mixed_backbones() -> None:
    pets = {"backbone": "RN50", "dataset": "OxfordPets"}
    for change in ({"comparable": False}, {"classes": "base"}, {"split": "val"}):
        assert published_cells(FIGURES, [run(**pets, **change)]) == []
    mixed = [run(**pets), run(backbone="RN101", dataset="OxfordPets")]
    assert published_cells(FIGURES, mixed) == []


def test_the_published_average_is_of_all_eleven() -> None:
    runs = [run(backbone="RN50", dataset=name) for name in BENCHMARK]
    assert "average" in {cell.dataset for cell in published_cells(FIGURES, runs)}
    for other in (runs[1:], [*runs, run(backbone="RN50")]):
        assert "average" not in {cell.dataset for cell in published_cells(FIGURES, other)}


def test_own_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEADER + 'Mine,tiny,Digits,16,88.5,"my paper, table 1"\n', encoding="utf-8-sig")
    assert read_published(path) == [
        PublishedResult("Mine", "tiny", "Digits", 16, 88.5, "my paper, table 1")
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("method,backbone\n", "lacks the column dataset, shots, accuracy, source"),
        ("", "lacks the column method"),
        (HEADER + "A,RN50,dtd,16,,s\n", "line 2"),
        (HEADER + "A,RN50,dtd,1.5,50,s\n", "line 2"),
        (HEADER + "A,RN50,dtd,16,nan,s\n", "line 2"),
        (HEADER + "A,RN50,dtd,16,101,s\n", "line 2"),
        (HEADER + "A,RN50,dtd,16,50,s\nA,RN50,dtd,1,50,\n", "line 3"),
        (HEADER + "A,RN50,dtd\n", "line 2"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said) as caught:
        read_published(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_published(tmp_path / "absent.csv")
