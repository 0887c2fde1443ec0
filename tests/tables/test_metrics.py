"""Tables of other figures than accuracy: ECE, NLL, and results that lack them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from vtclip.errors import UserError
from vtclip.results import RESULT_FILE, Temperature, write_result
from vtclip.tables.benchmark_table import load_tables
from vtclip.tables.logs import END_OF_TRAINING
from vtclip.tables.metrics import METRICS, keywords_of
from vtclip.tables.published import Wanted
from vtclip.tables.render import render_all
from vtclip.tables.summary import summarise, summarise_all

from .runs import log_text, result, write_log

SCALED = Temperature(1.5, 40, 2.0, 0.2)
NONE = Temperature(reason="ZeroshotCLIP uses no few-shot images")


def write(root: Path, trainer: str, eces: list[float | None], **changes: object) -> Path:
    """Write a run a seed with these errors, NLL a hundredth of them; None: an earlier version."""
    folder = root / trainer
    for seed, ece in enumerate(eces, start=1):
        known = {"ece": ece, "nll": ece / 100, "temperature": SCALED} if ece is not None else {}
        made = result(**{"trainer": trainer, "seed": seed, "accuracy": 90.0, **known, **changes})
        path = write_result(folder / f"seed{seed}", made)
        if ece is None:
            raw = json.loads(path.read_text())
            for name in ("ece", "nll", "temperature"):
                del raw[name]
            path.write_text(json.dumps(raw))
    return folder


@pytest.fixture
def old_and_new(tmp_path: Path) -> Path:
    write(tmp_path, "VTCLIP", [3.0, 4.0, 5.0])
    write(tmp_path, "CoOp", [9.0, None, 9.0])
    write(tmp_path, "TipAdapter", [None, None, None])
    write(tmp_path, "ZeroshotCLIP", [2.5], shots=0, temperature=NONE)
    return tmp_path


def shown(root: Path, keywords: str, output_format: str = "text", rows: str = "methods") -> str:
    return render_all(load_tables(root, keywords_of(keywords)), output_format, rows)


def cells(text: str) -> dict[str, str]:
    """The first column of figures by method."""
    lines = [line.split("  ") for line in text.splitlines() if line[:1].isupper()]
    found = [[part.strip() for part in line if part.strip()] for line in lines]
    return {line[0]: line[1] for line in found if len(line) > 2}


def test_a_table_of_old_and_new_has_dashes(old_and_new: Path) -> None:
    text = shown(old_and_new, "ece")
    assert "Digits, ece in %, mean ± std over seeds" in text
    assert cells(text) == {
        "ZeroshotCLIP": "2.50",
        "VTCLIP": "4.00 ± 0.82",
        "CoOp": "-",
        "Tip-Adapter": "-",
    }
    old = ", ".join(f"{old_and_new}/TipAdapter/seed{seed}" for seed in (1, 2, 3))
    line = f"note: no ece, the result of an earlier version: {old_and_new}/CoOp/seed2, {old}"
    assert line in text.splitlines()
    assert "missing:" not in text


def test_nll_has_its_own_unit_and_digits(old_and_new: Path) -> None:
    text = shown(old_and_new, "nll")
    assert "nll in nats" in text
    assert cells(text)["VTCLIP"] == "0.0400 ± 0.0082"


def test_scaled_figures_give_the_reason_where_there_is_none(old_and_new: Path) -> None:
    text = shown(old_and_new, "ece_scaled")
    assert cells(text) == {
        "ZeroshotCLIP": "-",
        "VTCLIP": "2.00 ± 0.00",
        "CoOp": "-",
        "Tip-Adapter": "-",
    }
    assert (
        "note: no ece_scaled, for there is no temperature (ZeroshotCLIP uses no few-shot images): "
        f"{old_and_new}/ZeroshotCLIP/seed1"
    ) in text.splitlines()


def test_several_figures_are_several_tables_with_one_set_of_notes(old_and_new: Path) -> None:
    write(old_and_new, "SSText", [3.5])
    text = shown(old_and_new, "accuracy,ece,nll")
    titles = [line.split(",")[1] for line in text.splitlines() if line.startswith("Digits, ")]
    assert titles == [" accuracy in %", " ece in %", " nll in nats"]
    assert text.count("selected on:") == 1
    warnings = [line for line in text.splitlines() if line.startswith("warning: ")]
    assert warnings and len(warnings) == len(set(warnings))
    assert text.count("the result of an earlier version") == 2  # one of ece, one of nll


def test_records_name_the_metric(old_and_new: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(shown(old_and_new, "accuracy,ece", "csv"))))
    found = {(line["method"], line["metric"]): line["mean"] for line in lines}
    assert len(lines) == len(found) == 8
    assert found["VTCLIP", "accuracy"] == "90.0" and found["VTCLIP", "ece"] == "4.0"
    assert found["CoOp", "accuracy"] == "90.0" and found["CoOp", "ece"] == ""
    whole = json.loads(shown(old_and_new, "accuracy,ece", "json"))
    means = {c["method"]: c["mean"] for c in whole["cells"] if c["metric"] == "ece"}
    assert means == {"ZeroshotCLIP": 2.5, "VTCLIP": 4.0, "CoOp": None, "TipAdapter": None}


def test_labels_of_latex_tables_differ(old_and_new: Path) -> None:
    text = shown(old_and_new, "accuracy,ece,ece_scaled", "latex")
    labels = [line for line in text.splitlines() if line.startswith("\\label")]
    assert labels == ["\\label{tab:digits}", "\\label{tab:digits-2}", "\\label{tab:digits-3}"]


def test_an_average_needs_every_dataset(tmp_path: Path) -> None:
    for dataset, eces in (("OxfordPets", [1.0, 1.0, 1.0]), ("EuroSAT", [2.0, 3.0, 4.0])):
        write(tmp_path / dataset, "VTCLIP", eces, dataset=dataset)
        old = [None, None, None] if dataset == "EuroSAT" else eces
        write(tmp_path / dataset, "CoOp", old, dataset=dataset)
    lines = {line.split()[0]: line.split() for line in shown(tmp_path, "ece").splitlines() if line}
    assert lines["VTCLIP"][1:8] == ["1.00", "±", "0.00", "3.00", "±", "0.82", "2.00"]
    assert lines["CoOp"][1:5] == ["1.00", "±", "0.00", "-"]


def test_the_lower_of_two_errors_leads(tmp_path: Path) -> None:
    write(tmp_path, "VTCLIP", [3.0, 4.0, 5.0])
    write(tmp_path, "CoOp", [4.2, 4.2, 4.2])
    text = shown(tmp_path, "ece,nll")
    assert (
        "warning: Digits at 16 shots: VTCLIP leads CoOp in ece by 0.20 points, less than the "
        "deviation over seeds, 0.82"
    ) in text
    assert "VTCLIP leads CoOp in nll by 0.0020 nats" in text


def test_a_folder_of_seeds(tmp_path: Path) -> None:
    folder = write(tmp_path, "VTCLIP", [3.0, 4.0, 5.0])
    text = summarise(str(folder), "accuracy,ece,nll", END_OF_TRAINING, "std")
    assert (
        f"file: {folder}/seed2/result.json. accuracy: 90.00%. ece: 4.00%. nll: 0.0400. \n" in text
    )
    assert "* accuracy: 90.00% +- 0.00%\n* ece: 4.00% +- 0.82%\n* nll: 0.0400 +- 0.0082\n" in text
    assert "seed      accuracy %    ECE %     NLL    macro F1 %    seconds" in text


def test_a_mean_over_seeds_needs_all_of_them(tmp_path: Path) -> None:
    folder = write(tmp_path, "CoOp", [9.0, None, 9.0])
    text = summarise(str(folder), "accuracy,ece", END_OF_TRAINING, "std")
    assert "accuracy: 90.00%. ece: -. \n" in text
    assert "* accuracy: 90.00% +- 0.00%\n* ece: -\n" in text
    several = summarise_all(str(tmp_path), "accuracy,ece", END_OF_TRAINING, "std")
    assert "Average performance\n* accuracy: 90.00%\n* ece: -\n" in several
    alone = summarise(str(folder), "ece", END_OF_TRAINING, "std")
    assert "* ece: 9.00% +- 0.00%" in alone
    said = f"unfinished: {folder}/seed2: {RESULT_FILE}: no ece, the result of an earlier version"
    assert said in alone.splitlines()


def test_figures_of_logs(tmp_path: Path) -> None:
    for seed in (1, 2):
        text = log_text(90.0) + f"* ece: {seed + 2}.00%\n* nll: 0.{seed}000\n"
        write_log(tmp_path / f"seed{seed}", text)
    write_log(tmp_path / "seed3", log_text(90.0))
    text = summarise(str(tmp_path), "ece,nll", END_OF_TRAINING, "std")
    assert "* ece: 3.50% +- 0.50%\n* nll: 0.1500 +- 0.0500" in text
    assert f'seed3: log.txt: no "* ece: ...%" after "{END_OF_TRAINING}"' in text


@pytest.mark.parametrize("text", ["", "accuracy,", "ece,ece", ","])
def test_a_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--keyword"):
        keywords_of(text)


def test_a_table_knows_its_metrics_alone(old_and_new: Path) -> None:
    assert "error in %" in shown(old_and_new, "error")
    with pytest.raises(UserError, match="ece"):
        load_tables(old_and_new, ["accuracy", "eec"])
    with pytest.raises(UserError, match="--published"):
        load_tables(old_and_new, ["accuracy", "ece"], published=Wanted(Path("any.csv")))
    assert {"accuracy", "macro_f1", "error", "ece", "nll", "ece_scaled", "nll_scaled"} == set(
        METRICS
    )
