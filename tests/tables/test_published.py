from __future__ import annotations

from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.tables.benchmark_table import load_results
from vtclip.tables.cells import Cell, Row
from vtclip.tables.layout import lay_out
from vtclip.tables.names import BENCHMARK, method_name, same_method
from vtclip.tables.published import (
    AUTHORS,
    COLUMNS,
    PublishedResult,
    Wanted,
    one_source_each,
    published_cells,
    read_published,
    wanted_figures,
    wanted_of,
)
from vtclip.tables.render import records

from .runs import run, write_runs

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


def test_which_figures_of_the_package_were_selected_on_test() -> None:
    on_test = {(f.method, f.dataset) for f in read_published() if f.selected_on == "test"}
    assert {f.selected_on for f in read_published()} == {"", "test"}
    # the epoch of Tip-Adapter-F, on every dataset; elsewhere the search on ImageNet
    everywhere = {(m, d) for m, d in on_test if d != "ImageNet"}
    assert everywhere == {("Tip-Adapter-F", d) for d in BENCHMARK if d != "ImageNet"}
    assert {m for m, d in on_test if d == "ImageNet"} == {
        "APE", "APE-T", "CALIP", "CaFo", "GDA-CLIP", "TIMO", "TIMO-S", "Tip-Adapter",
        "Tip-Adapter-F",
    }  # fmt: skip


def test_names_of_methods() -> None:
    assert same_method("TipAdapterF", "Tip-Adapter-F") and same_method("SSText", "SS-Text")
    assert not same_method("TipAdapter", "Tip-Adapter-F")
    assert method_name("CLIPAdapter (tuned)") == "CLIP-Adapter (tuned)"
    figures = [PublishedResult("Tip-Adapter", "RN50", "OxfordPets", 16, 88.14, "s")]
    ours = run(trainer="TipAdapter", backbone="RN50", dataset="OxfordPets")
    assert [cell.row for cell in published_cells(figures, [ours])] == [Row("TipAdapter", "s")]


def test_ours_and_the_published_row_stand_beside_each_other(tmp_path: Path) -> None:
    for trainer in ("CoOp", "TipAdapter", "VTCLIP"):
        place = {"trainer": trainer, "dataset": "ImageNet", "backbone": "RN50"}
        write_runs(tmp_path, [60.0, 61.0], **place)
    names = "Tip-Adapter,CoOp,APE-T"
    (table,) = lay_out(load_results(tmp_path, published=wanted_of(names)), "methods")
    assert [" ".join(map(str, row[:2])) for row in table.rows] == [
        "CoOp 60.50 ± 0.50",
        "CoOp, published [1] 62.95",
        "Tip-Adapter 60.50 ± 0.50",
        "Tip-Adapter, published [2] 62.01‡",
        "VTCLIP 60.50 ± 0.50",
        "APE-T, published [3] 66.07‡",
    ]
    # what was selected on test is out of the running
    assert [row[0].text for row in table.rows if row[1].best] == ["CoOp, published [1]"]


def test_an_average_over_figures_selected_on_test_is_marked(tmp_path: Path) -> None:
    for dataset in ("ImageNet", "DescribableTextures"):
        write_runs(tmp_path, [50.0, 51.0], dataset=dataset, backbone="RN50")
    data = load_results(tmp_path, published=wanted_of("Tip-Adapter,CoOp"))
    (table,) = lay_out(data, "methods")
    averages = {row[0].text.split(",")[0]: row[3] for row in table.rows}
    # (62.01 + 60.93) / 2, (62.97 + 63.70) / 2
    assert str(averages["Tip-Adapter"]) == "61.47‡" and str(averages["CoOp"]) == "63.34"
    assert [name for name, entry in averages.items() if entry.best] == ["CoOp"]
    said = {r["method"]: r["selected_on"] for r in records(data, "methods") if not r["values"]}
    assert said == {"VTCLIP": "", "Tip-Adapter": "test", "CoOp": ""}


def test_one_source_per_method() -> None:
    def cells(method: str, source: str, number: int) -> list[Cell]:
        return [Cell(Row(method, source), "D", shots, (1.0,)) for shots in range(number)]

    given = [
        *cells("CoOp", "KaiyangZhou/CoOp@1", 1),
        *cells("CoOp", "rerun", 5),
        *cells("TipAdapter", "a rerun", 5),
        *cells("TipAdapter", "gaopengcuhk/Tip-Adapter@1", 5),
        *cells("X", "b", 2),
        *cells("X", "a", 2),
    ]
    kept, others = one_source_each(given)
    assert {(cell.row.method, cell.row.source) for cell in kept} == {
        ("CoOp", "rerun"),  # the fullest
        ("TipAdapter", "gaopengcuhk/Tip-Adapter@1"),  # the authors'
        ("X", "a"),  # by name
    }
    assert (len(kept), others) == (12, 3)


def test_each_of_the_authors_has_figures() -> None:
    figures = read_published()
    for method, starts in AUTHORS.items():
        assert any(f.method == method and f.source.startswith(starts) for f in figures), method


def test_what_is_wanted() -> None:
    assert wanted_of("") == Wanted()
    assert wanted_of(" Tip-Adapter, CaFo ,all") == Wanted(
        texts=("Tip-Adapter", "CaFo"), every_source=True
    )
    assert wanted_of("Mine, own.CSV") == Wanted(Path("own.CSV"), ("Mine",))
    with pytest.raises(UserError, match="give one file"):
        wanted_of("a.csv,b.csv")


def test_figures_by_method_and_by_text_of_the_source() -> None:
    by_name = wanted_figures(Wanted(texts=("tipadapter",)))
    assert {f.method for f in by_name} == {"Tip-Adapter"} and len(by_name) == 115
    by_text = wanted_figures(Wanted(texts=("cafo_arxiv",)))
    assert {f.source for f in by_text} == {"OpenGVLab/CaFo@a805a2ae:CaFo_arXiv.pdf Table 2"}
    both = wanted_figures(Wanted(texts=("tipadapter", "cafo_arxiv")))
    assert len(both) == len(set(by_name) | set(by_text))
    with pytest.raises(UserError, match=r"'Tap' is no method and in no source.*Tip-Adapter-F"):
        wanted_figures(Wanted(texts=("Tap",)))


def test_a_table_says_how_many_sources_it_left_out(tmp_path: Path) -> None:
    write_runs(tmp_path, [60.0], dataset="ImageNet", backbone="RN50")
    data = load_results(tmp_path, published=wanted_of("Tip-Adapter"))
    assert len(data.sources()) == 1
    assert any("other sources left out: 1 " in note for note in data.notes)
    everything = load_results(tmp_path, published=wanted_of("Tip-Adapter,all"))
    assert len(everything.sources()) == 2 and everything.notes == []


def test_a_file_may_say_what_was_selected_on_test(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEADER.strip() + ",selected_on\nA,tiny,Digits,16,88.5,me,test\n")
    write_runs(tmp_path, [80.0, 81.0])
    (table,) = lay_out(load_results(tmp_path, published=Wanted(path)), "methods")
    assert [str(row[1]) for row in table.rows] == ["80.50 ± 0.50", "88.50‡"]


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
