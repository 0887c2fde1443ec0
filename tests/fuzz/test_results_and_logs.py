"""Damaged and forged results and logs: a table or one line; no traceback, no impossible figure.

100 examples per test, always the same ones; VTCLIP_FUZZ=5000 runs that many.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.common import EDITS, FUZZ, edited
from tests.tables.runs import log_text, result, write_runs
from vtclip.errors import UserError
from vtclip.files import read_json
from vtclip.results import RESULT_FILE, Result, read_result
from vtclip.tables.benchmark_table import load_tables
from vtclip.tables.logs import END_OF_TEST, END_OF_TRAINING
from vtclip.tables.render import FORMATS, render_all
from vtclip.tables.summary import read_experiment, summarise

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

TEXTS = st.text(st.characters(), max_size=8)  # halves of surrogate pairs and NUL among them
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 2, 100, 2**63, 10**400, -1, 1e308, 1e-308, 1.5])
    | st.floats()
    | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v, max_size=3), max_leaves=6
)
NAMES = [*asdict(result(search=None)), "other"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two good seeds; the third is the one to damage."""
    folder = write_runs(tmp_path_factory.mktemp("runs"), [90.0, 91.0])
    (folder / "seed3").mkdir()
    return folder


def one_line(error: UserError) -> None:
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) < 2000


def read_or_refuse(path: Path) -> Result | None:
    try:
        found = read_result(path)
    except UserError as error:
        one_line(error)
        assert str(error).startswith(str(path))
        return None
    assert 0 <= found.accuracy <= 100
    assert abs(found.accuracy - 100 * found.correct / found.total) <= 0.01
    return found


def tabulate_or_refuse(folder: Path) -> None:
    """Make each table; the two good seeds are in it, whatever the third is."""
    found = read_or_refuse(folder / "seed3" / RESULT_FILE)
    for mix in (False, True):
        try:
            tables = load_tables(folder, ["accuracy"], mix=mix)
        except UserError as error:
            one_line(error)
            assert not mix and found is not None
            continue
        ours = [v for data in tables for c in data.cells for v in c.values]
        assert {90.0, 91.0} <= set(ours) and len(ours) == 2 + (found is not None)
        said = " ".join(line for data in tables for line in data.notes + data.warnings)
        assert found is not None or str(folder / "seed3" / RESULT_FILE) in said
        for output_format in FORMATS:
            for rows in ("methods", "shots"):
                render_all(tables, output_format, rows).encode()
    for keyword in ("accuracy", "macro_f1", "error", "loss", "ece", "accuracy,nll,ece_scaled"):
        summarise_or_refuse(folder, keyword)


def summarise_or_refuse(folder: Path, keyword: str) -> None:
    for signal in (END_OF_TRAINING, END_OF_TEST):
        for seed in read_experiment(str(folder), keyword, signal).seeds:
            assert all(map(math.isfinite, seed.values.values()))
            percentages = seed.values.keys() & {"accuracy", "macro_f1", "error", "ece"}
            assert all(0 <= seed.values[name] <= 100 for name in percentages)
        for interval in ("std", "ci95"):
            try:
                summarise(str(folder), keyword, signal, interval).encode()
            except UserError as error:
                one_line(error)


IMPOSSIBLE = [912.0, -1.0, 100.01, math.inf, -math.inf, math.nan, "92", True, None, [92.0], 10**400]


@pytest.mark.parametrize("value", IMPOSSIBLE, ids=lambda value: str(value)[:9])
@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "zero_shot_accuracy"])
def test_percentages_that_cannot_be(runs: Path, name: str, value: Any) -> None:
    path = runs / "seed3" / RESULT_FILE
    path.write_text(json.dumps({**asdict(result(seed=3, accuracy=92.0)), name: value}))
    assert read_or_refuse(path) is None
    tabulate_or_refuse(runs)


@FUZZ
@given(accuracy=st.floats(0, 100), correct=st.integers(-1, 10_000), total=st.integers(-1, 10_000))
def test_accuracy_against_the_counts(runs: Path, accuracy: float, correct: int, total: int) -> None:
    path = runs / "seed3" / RESULT_FILE
    counts = {"correct": correct, "total": total}
    path.write_text(json.dumps({**asdict(result(seed=3)), **counts, "accuracy": accuracy}))
    agrees = 0 <= correct <= total and total and abs(accuracy - 100 * correct / total) <= 0.01
    assert (read_or_refuse(path) is not None) == bool(agrees)


@pytest.mark.parametrize("figure", ["912", "-1", "inf", "-inf", "nan", "1e999", "100.1", "9e1e1"])
def test_logs_of_percentages_that_cannot_be(seed_of_logs: Path, figure: str) -> None:
    text = f"Finish training\n=> result\n* accuracy: {figure}%\n"
    (seed_of_logs / "log.txt").write_text(text)
    found = read_experiment(str(seed_of_logs.parent), "accuracy", END_OF_TRAINING)
    assert not any("accuracy" in seed.values for seed in found.seeds)
    summarise_or_refuse(seed_of_logs.parent, "accuracy")


@FUZZ
@given(edits=EDITS)
def test_damaged_results(runs: Path, edits: list[tuple[float, bytes, int]]) -> None:
    content = json.dumps(asdict(result(seed=3, accuracy=92.0)), indent=2).encode()
    (runs / "seed3" / RESULT_FILE).write_bytes(edited(content, edits))
    tabulate_or_refuse(runs)


@FUZZ
@given(changes=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=3))
def test_results_with_other_values(runs: Path, changes: dict[str, Any]) -> None:
    raw = {**asdict(result(seed=3, accuracy=92.0)), **changes}
    (runs / "seed3" / RESULT_FILE).write_text(json.dumps(raw))
    tabulate_or_refuse(runs)


@FUZZ
@given(search=VALUES, name=st.sampled_from(["split", "grid", "chosen", "accuracy", "tied"]))
def test_searches_with_other_values(runs: Path, search: Any, name: str) -> None:
    good = {"split": "val", "grid": {"a": [1.0]}, "chosen": {"a": 1.0}, "accuracy": 91.0, "tied": 1}
    raw = {**asdict(result(seed=3, accuracy=92.0)), "search": {**good, name: search}}
    (runs / "seed3" / RESULT_FILE).write_text(json.dumps(raw))
    tabulate_or_refuse(runs)


@FUZZ
@given(raw=VALUES, lacking=st.sets(st.sampled_from(NAMES)))
def test_files_of_other_programs(runs: Path, raw: Any, lacking: set[str]) -> None:
    path = runs / "seed3" / RESULT_FILE
    ours = {k: v for k, v in asdict(result(seed=3)).items() if k not in lacking}
    for content in (raw, ours):
        path.write_text(json.dumps(content))
        tabulate_or_refuse(runs)


@FUZZ
@given(
    content=st.binary(max_size=60),
    depth=st.integers(0, 4000),
    opening=st.sampled_from([b"[", b'{"a":']),
)
def test_json_of_anything(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, depth: int, opening: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.json"
    closing = {b"[": b"]", b'{"a":': b"}"}[opening]
    for text in (content, opening * depth + content, opening * depth + b"1" + closing * depth):
        path.write_bytes(text)
        try:
            read_json(path)
        except UserError as error:
            one_line(error)
        read_or_refuse(path)


# one setting of a result, nested as deep as JSON can be
@FUZZ
@given(
    depth=st.integers(0, 4000), name=st.sampled_from(["settings", "templates", "search", "seconds"])
)
def test_deep_values(runs: Path, depth: int, name: str) -> None:
    text = json.dumps({**asdict(result(seed=3)), name: {"a": "HERE"}})
    nested = text.replace('"HERE"', "[" * depth + "1" + "]" * depth)
    path = runs / "seed3" / RESULT_FILE
    path.write_text(nested)
    read_or_refuse(path)


LINES = st.sampled_from(
    ["Finish training", "Finished training", "=> result", "epoch [1/2]", "Elapsed: 0:01:23", ""]
)
NUMBERS = (
    st.floats().map(str) | st.integers().map(str) | TEXTS | st.sampled_from(["1.2.3", "1e999"])
)
FIGURES = st.builds(
    "* {}: {}%".format, st.sampled_from(["accuracy", "macro_f1", "error", "loss"]), NUMBERS
)
ELAPSED = st.builds("Elapsed: {} days, {}:{}:00".format, st.integers(), NUMBERS, st.integers(0, 99))


@pytest.fixture
def seed_of_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs") / "seed1"
    folder.mkdir()
    return folder


@FUZZ
@given(lines=st.lists(LINES | FIGURES | ELAPSED | TEXTS))
def test_logs_of_random_lines(seed_of_logs: Path, lines: list[str]) -> None:
    content = "\n".join(["Finish training", "=> result", *lines])
    (seed_of_logs / "log.txt").write_text(content, encoding="utf-8", errors="surrogatepass")
    for keyword in ("accuracy", "loss"):
        summarise_or_refuse(seed_of_logs.parent, keyword)


@FUZZ
@given(edits=EDITS)
def test_damaged_logs(seed_of_logs: Path, edits: list[tuple[float, bytes, int]]) -> None:
    (seed_of_logs / "log.txt").write_bytes(edited(log_text(90.0).encode(), edits))
    summarise_or_refuse(seed_of_logs.parent, "accuracy")
