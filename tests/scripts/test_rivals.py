"""The pages of the rivals say what the code says."""

from __future__ import annotations

import csv
import re

import pytest

from scripts.docs.rivals import END, FOLDER, PAGES, START, averages, replaced, section
from vtclip.plugins import import_modules
from vtclip.tables.names import BENCHMARK
from vtclip.tables.published import PUBLISHED_FILE, PublishedResult


@pytest.fixture(autouse=True)
def _methods() -> None:
    import_modules(["trainers"])


def test_every_method_but_our_own_has_a_page() -> None:
    from vtclip.registrations import methods_in_source

    named = [trainer for trainers in PAGES.values() for trainer in trainers]
    assert sorted(named) == sorted(set(methods_in_source()) - {"VTCLIP", "VTCLIPPlus"})
    assert set(PAGES) == {path.stem for path in FOLDER.glob("*.md")}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    """Renewed by `python -m scripts.docs.rivals`."""
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert page == replaced(page, section(PAGES[name]))


def cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line.strip())[1:-1]


@pytest.mark.parametrize("name", PAGES)
def test_the_rows_of_a_table_have_as_many_cells_as_its_head(name: str) -> None:
    """A site drops what is too many: of "weight of |A|^2" it showed "weight of"."""
    width = 0
    for line in section(PAGES[name]).splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        width = width or len(cells(line))
        assert len(cells(line)) == width, line


def test_only_what_stands_between_the_marks_is_written() -> None:
    page = f"above\n{START}\nold\n{END}\nbelow\n"
    assert replaced(page, "new") == f"above\n{START}\n\nnew\n\n{END}\nbelow\n"
    with pytest.raises(ValueError, match="has no"):
        replaced("a page without marks", "new")


def test_an_average_is_of_all_eleven_datasets() -> None:
    def result(dataset: str, shots: int, accuracy: float, on: str = "") -> PublishedResult:
        return PublishedResult("M", "RN50", dataset, shots, accuracy, "a log", on)

    whole = [result(key, 4, 50.0 + n, "test") for n, key in enumerate(BENCHMARK.values())]
    some = [result("imagenet", 8, 10.0), result("dtd", 8, 20.0)]
    (found,) = averages([*whole, *some])
    assert (found.of, found.by_shots, found.selected_on) == ("11 datasets", {4: 55.0}, "test")
    (alone,) = averages(some)
    assert (alone.of, alone.by_shots) == ("ImageNet", {8: 10.0})
    assert averages(some[1:]) == []


def test_the_published_average_of_tip_adapter_f() -> None:
    """Worked out from the file itself."""
    with PUBLISHED_FILE.open(encoding="utf-8") as file:
        cells = [
            float(row["accuracy"])
            for row in csv.DictReader(file)
            if (row["method"], row["backbone"], row["shots"]) == ("Tip-Adapter-F", "RN50", "16")
            and row["source"].startswith("gaopengcuhk/Tip-Adapter")
        ]
    assert len(cells) == 11
    assert f"{sum(cells) / 11:.2f}" in section(["TipAdapterF"])
