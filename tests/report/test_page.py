"""The page of all runs: its figures are those of result.json, and it holds in a browser."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import report
from tests.conftest import RunTrain

SHORT = ("OPTIM.MAX_EPOCH", "1", "FEATURES.VIEWS", "1")


@pytest.fixture
def runs(run_train: RunTrain, tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    for method in ("VTCLIP", "ZeroshotCLIP", "SSText"):
        for shots in ("1", "2"):
            place = str(folder / method / shots)
            assert (
                run_train("--trainer", method, "--output-dir", place, "--shots", shots, *SHORT) == 0
            )
    return folder


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("result.json"))]


def page_of(folder: Path, *arguments: str) -> str:
    out = folder.parent / "page" / "report.html"
    assert report.main(["html", str(folder), "--out", str(out), "--images", "2", *arguments]) == 0
    return out.read_text(encoding="utf-8")


def test_the_page_is_whole_by_itself_and_has_the_figures_of_the_results(runs: Path) -> None:
    page = page_of(runs)
    for result in results(runs):
        assert f"<b>{result['accuracy']:.2f}</b>" in page
        assert result["config_digest"][:12] in page
    assert "only 1 seed" in page
    # nothing is fetched: no address but those of the SVG's own names
    addresses = set(re.findall(r"(?:src|href)=[\"']([^\"'#]+)", page))
    assert all(address.startswith("data:image/") for address in addresses)
    assert "default-src 'none'" in page


def test_names_are_text_and_never_markup(runs: Path) -> None:
    (one,) = (
        path for path in runs.rglob("predictions.csv") if path.parts[-3:-1] == ("VTCLIP", "2")
    )
    hostile = "<script>alert(1)</script>"
    with one.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    for row in rows:
        for place in (1, 2, 5):
            row[place] += hostile
    with one.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    page = page_of(runs)
    assert hostile not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_missing_images_are_said(runs: Path, tmp_path: Path) -> None:
    page = page_of(runs, "--root", str(tmp_path / "nowhere"))
    assert "the file is not there" in page


def test_a_folder_without_results_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["html", str(tmp_path)]) == 2
    assert "no result.json anywhere below it" in capsys.readouterr().err


@pytest.fixture
def browser() -> Iterator[Any]:
    selenium = pytest.importorskip("selenium", reason="selenium is not installed")
    assert selenium
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium and chromedriver: the page is not tried in a browser")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


def test_it_sorts_filters_and_opens_in_a_browser(runs: Path, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    page_of(runs)
    browser.get((runs.parent / "page" / "report.html").as_uri())

    def column(number: int) -> list[str]:
        rows = browser.find_elements(By.CSS_SELECTOR, "#results tbody tr")
        return [
            row.find_elements(By.TAG_NAME, "td")[number].text for row in rows if row.is_displayed()
        ]

    # a run without shots is one line, whatever it was asked for
    expected = {r["accuracy"] for r in results(runs) if r["shots"]}
    expected |= {r["accuracy"] for r in results(runs) if not r["shots"]}
    shown = [f"{value:.2f}" for value in sorted(expected)]
    found = browser.find_elements(By.CSS_SELECTOR, "#results th button")
    heads = {head.text: head for head in found}
    accuracy = list(heads).index("accuracy")
    heads["accuracy"].click()
    assert sorted(set(column(accuracy)), key=float) == sorted(set(shown), key=float)
    assert [float(text) for text in column(accuracy)] == sorted(
        float(text) for text in column(accuracy)
    )
    heads["accuracy"].click()
    assert [float(t) for t in column(accuracy)] == sorted(
        (float(t) for t in column(accuracy)), reverse=True
    )
    lines = len(column(0))

    Select(browser.find_element(By.ID, "filter-method")).select_by_visible_text("VTCLIP")
    assert set(column(0)) == {"VTCLIP"}
    Select(browser.find_element(By.ID, "filter-shots")).select_by_value("2")
    (only,) = (r for r in results(runs) if r["trainer"] == "VTCLIP" and r["shots"] == 2)
    assert column(accuracy) == [f"{only['accuracy']:.2f}"]
    assert browser.find_element(By.ID, "count").text == f"1 of {lines} lines"

    closed = browser.find_elements(By.CSS_SELECTOR, "details.run:not([open]) summary")
    before = len(closed)
    closed[0].click()
    assert len(browser.find_elements(By.CSS_SELECTOR, "details.run:not([open])")) == before - 1
    assert browser.execute_script(
        "return [...document.images].every(image => image.complete && image.naturalWidth > 0)"
    )
    assert browser.get_log("browser") == []


def test_attention_is_drawn_of_a_run(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(runs / "VTCLIP" / "2"), tmp_path / "pictures" / "attention"
    for pick in ("fixed", "random"):
        assert report.main(["attention", run, "--pick", pick, "--n", "3", "--out", str(out)]) == 0
        with Image.open(f"{out}.png") as picture:
            assert picture.width == pytest.approx(6.9 * 300, abs=2)
    arguments = ["attention", run, "--n", "1", "--classes", "one,two,three", "--head", "7"]
    assert report.main([*arguments, "--layer", "0"]) == 0
    capsys.readouterr()
    for wrong, message in (
        (("--classes", "eleven"), "--classes: unknown name 'eleven'"),
        (("--head", "8"), "--head: unknown name '8'"),
        (("--layer", "1"), "layer 1: the run has 1"),
        (("--root", str(tmp_path)), "no such image; --root names the data root"),
    ):
        assert report.main(["attention", run, *wrong]) == 2
        assert message in capsys.readouterr().err
    assert report.main(["attention", str(runs / "SSText" / "2")]) == 2
    assert "SSText: its texts do not look at the image" in capsys.readouterr().err


def test_other_pictures_of_a_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs / "VTCLIP" / "2"
    for kind in ("confusion", "classes", "reliability", "texts"):
        assert report.main([kind, str(run)]) == 0
        assert (run / f"{kind}.png").stat().st_size > 5_000
    assert report.main(["texts", str(runs / "SSText" / "2")]) == 2
    assert "its texts do not move" in capsys.readouterr().err
    assert report.main(["curves", str(runs)]) == 0
    assert (runs / "curves.pdf").is_file()
    assert report.main(["curves", str(runs), "--published", "nobody"]) == 2
