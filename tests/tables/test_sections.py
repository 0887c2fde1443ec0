"""Runs that are no rows of one table: other backbones, own photos, models trained elsewhere."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from vtclip.errors import UserError
from vtclip.results import write_result
from vtclip.tables.benchmark_table import load_results, load_tables
from vtclip.tables.published import Wanted
from vtclip.tables.render import all_footnotes, render_all

from .runs import result, write_runs


def tables(root: Path, **options: Any) -> dict[str, dict[str, str]]:
    """The mean of each method and dataset, by what the runs of the table have in common."""
    return {
        data.section.replace(" (0123456789ab)", ""): {
            f"{cell.row.method} {cell.dataset}": f"{cell.mean:g}" for cell in data.cells
        }
        for data in load_tables(root, ["accuracy"], **options)
    }


def test_a_table_for_each_backbone(tmp_path: Path) -> None:
    write_runs(tmp_path, [60.0, 62.0], backbone="RN50")
    write_runs(tmp_path, [70.0, 72.0], backbone="ViT-B/16", backbone_fingerprint="f" * 16)
    write_runs(tmp_path / "other", [80.0], backbone="RN50", backbone_fingerprint="e" * 16)
    assert tables(tmp_path) == {
        "RN50": {"VTCLIP Digits": "61"},
        "RN50 (eeeeeeeeeeee)": {"VTCLIP Digits": "80"},
        "ViT-B/16 (ffffffffffff)": {"VTCLIP Digits": "71"},
    }
    with pytest.raises(UserError, match=r"several kinds \(RN50 \(0123456789ab\); RN50 \(eeee"):
        load_results(tmp_path)


def test_notes_stand_below_their_table_and_common_ones_at_the_end(tmp_path: Path) -> None:
    write_runs(tmp_path, [60.0, 61.0, 62.0], backbone="RN50", shots=1)
    write_runs(tmp_path, [60.0], backbone="RN101", shots=1)
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / "log.txt").write_text("")
    data = load_tables(tmp_path, ["accuracy"])
    text = render_all(data, "text", "methods")
    first, second = text.split("Digits, accuracy")[1:]
    assert "backbone RN101 (" in first and "warning: VTCLIP: only 1 seed" in first
    assert "backbone RN50 (" in second and "warning" not in second
    common = [f"note: a log but no result, left out: {tmp_path}/dead", "selected on: last epoch"]
    for line in common:
        assert text.count(line) == 1 and line in second
    warning = "warning: RN101 (0123456789ab): VTCLIP: only 1 seed: Digits at 1 shot"
    assert warning in all_footnotes(data)
    latex = render_all(data, "latex", "methods")
    labels = [line for line in latex.splitlines() if line.startswith(r"\label")]
    assert labels == [r"\label{tab:digits}", r"\label{tab:digits-2}"]


def test_published_figures_of_each_backbone(tmp_path: Path) -> None:
    for backbone in ("RN50", "ViT-B/16"):
        write_runs(tmp_path, [60.0, 61.0], dataset="ImageNet", backbone=backbone)
    by_backbone = {
        data.backbone.split()[0]: {
            cell.backbone for cell in data.cells if cell.row.source and cell.row.method == "APE"
        }
        for data in load_tables(tmp_path, ["accuracy"], published=Wanted())
    }
    assert by_backbone == {"RN50": {"RN50"}, "ViT-B/16": {"ViT-B/16"}}


def digest(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:8]


def test_own_photos_stand_apart_folder_by_folder(tmp_path: Path) -> None:
    zero_shot = {"trainer": "ZeroshotCLIP", "shots": 0}
    write_runs(tmp_path, [90.0])
    for name, accuracy in (("cats", 60.0), ("dogs", 70.0)):
        place = {"dataset": "ImageFolder", "dataset_root": f"/photos/{name}"}
        write_runs(tmp_path / name, [accuracy], list_digest={"train": name}, **place)
        # as accurate on both: no repeat of one another
        write_runs(tmp_path / name, [50.0], **place, **zero_shot)
    # labels with the SHA-256 of the path, as of folders of output
    assert tables(tmp_path) == {
        "tiny": {"VTCLIP Digits": "90"},
        f"tiny, photos of ImageFolder-cats-{digest('/photos/cats')}": {
            "VTCLIP ImageFolder": "60",
            "ZeroshotCLIP ImageFolder": "50",
        },
        f"tiny, photos of ImageFolder-dogs-{digest('/photos/dogs')}": {
            "VTCLIP ImageFolder": "70",
            "ZeroshotCLIP ImageFolder": "50",
        },
    }


def test_files_of_features_stand_apart(tmp_path: Path) -> None:
    for name, accuracy in (("a", 60.0), ("b", 70.0)):
        place = {"dataset": "FeatureBank", "backbone": name, "backbone_fingerprint": name * 64}
        trained = write_runs(tmp_path / name, [accuracy], **place)
        write_runs(tmp_path / name, [50.0], trainer="ZeroshotCLIP", shots=0, **place)
    elsewhere = result(accuracy=40.0, evaluated=str(trained / "seed1"), dataset="FeatureBank")
    write_result(tmp_path / "elsewhere", elsewhere)
    assert tables(tmp_path) == {
        "a (aaaaaaaaaaaa)": {"VTCLIP FeatureBank": "60", "ZeroshotCLIP FeatureBank": "50"},
        "b (bbbbbbbbbbbb)": {"VTCLIP FeatureBank": "70", "ZeroshotCLIP FeatureBank": "50"},
        "tiny, evaluated from a checkpoint": {"VTCLIP FeatureBank": "40"},
    }


def test_a_model_on_images_that_it_was_not_trained_on_stands_apart(tmp_path: Path) -> None:
    trained = write_runs(tmp_path, [70.0, 72.0], dataset="EuroSAT", backbone="RN50")
    for seed in (1, 2):
        written = {"backbone": "RN50", "seed": seed, "evaluated": str(trained / f"seed{seed}")}
        elsewhere = result(dataset="Food101", accuracy=40.0 + seed, **written)
        write_result(tmp_path / "elsewhere" / f"seed{seed}", elsewhere)
    for dataset, accuracy in (("EuroSAT", 30.0), ("Food101", 35.0), ("UCF101", 20.0)):
        place = {"trainer": "ZeroshotCLIP", "shots": 0, "backbone": "RN50"}
        write_runs(tmp_path, [accuracy], dataset=dataset, **place)
    assert tables(tmp_path) == {
        "RN50": {"VTCLIP EuroSAT": "71", "ZeroshotCLIP EuroSAT": "30", "ZeroshotCLIP UCF101": "20"},
        "RN50, evaluated from a checkpoint": {
            "VTCLIP Food101": "41.5",
            "ZeroshotCLIP Food101": "35",
        },
    }
    _, evaluated = load_tables(tmp_path, ["accuracy"], published=Wanted())
    assert not any(cell.row.source for cell in evaluated.cells)
    assert any("trained on other images" in note for note in evaluated.notes)


def test_base_and_new_classes_stand_apart(tmp_path: Path) -> None:
    trained = write_runs(tmp_path / "base", [80.0], classes="base")
    evaluated = result(classes="new", accuracy=60.0, evaluated=str(trained / "seed1"))
    write_result(tmp_path / "new" / "seed1", evaluated)
    assert tables(tmp_path) == {
        "tiny, base classes": {"VTCLIP Digits": "80"},
        "tiny, evaluated from a checkpoint, new classes": {"VTCLIP Digits": "60"},
    }


def test_records_say_what_sets_them_apart(tmp_path: Path) -> None:
    write_runs(tmp_path, [80.0], backbone="RN101", shots=1)
    write_runs(tmp_path / "base", [90.0], classes="base", backbone="RN50")
    data = load_tables(tmp_path, ["accuracy"])
    lines = list(csv.DictReader(io.StringIO(render_all(data, "csv", "methods"))))
    assert [(line["backbone"], line["kind"], line["mean"]) for line in lines] == [
        ("RN101", "", "80.0"),
        ("RN50", "base classes", "90.0"),
    ]
    value = json.loads(render_all(data, "json", "methods"))
    assert value["backbone"] == "RN101 (0123456789ab), RN50 (0123456789ab)"
    assert value["warnings"] == [
        "RN101 (0123456789ab): VTCLIP: only 1 seed: Digits at 1 shot",
        "RN50 (0123456789ab), base classes: VTCLIP: only 1 seed: Digits at 16 shots",
    ]


def test_the_page_has_a_line_and_a_figure_for_each_backbone(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from vtclip.report.page import build_page

    write_runs(tmp_path, [60.0, 62.0], backbone="RN50", zero_shot_accuracy=50.0)
    write_runs(tmp_path, [70.0, 72.0], backbone="RN101", zero_shot_accuracy=56.0)
    page = build_page(tmp_path, images=1, runs_in_detail=0, root="", mix=False)
    lines = [line for line in page.splitlines() if line.startswith("<td>VTCLIP</td>")]
    assert [line.split("</td>")[1] for line in lines] == ["<td>RN101", "<td>RN50"]
    # 71 - 56 and 61 - 50: each over the zero-shot accuracy of its own backbone
    assert '<td data-value="15.0"' in page and '<td data-value="11.0"' in page
    assert page.count("<svg") == 2
