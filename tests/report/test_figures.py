"""What the figures are drawn from, by value, and that they are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from vtclip.predictions import Judged
from vtclip.predictor import Guess
from vtclip.report.attention import Scene, draw_scenes, overlay_image
from vtclip.report.classes import class_gains, draw_class_gains
from vtclip.report.confusion import confusion, draw_confusion, most_confused
from vtclip.report.picking import pick_rows
from vtclip.report.reliability import draw_reliability, reliability_bins
from vtclip.report.style import save_figure, shortened_name, svg_of
from vtclip.report.texts import draw_movement, project


def judged(label: str, predicted: str, zero_shot: str, probability: float = 0.5) -> Judged:
    return Judged(f"{label}.jpg", label, predicted, 0.1, probability, zero_shot)


ROWS = [
    judged("cat", "cat", "dog", 0.9),
    judged("cat", "cat", "cat", 0.8),
    judged("cat", "dog", "cat", 0.7),
    judged("dog", "dog", "cat", 0.95),
    judged("emu", "cat", "emu", 0.2),
]


def test_gains_are_accuracies_minus_those_of_zero_shot() -> None:
    gains = class_gains(ROWS)
    assert [(g.name, g.images, g.zero_shot, g.accuracy) for g in gains] == [
        ("dog", 1, 0.0, 100.0),
        ("cat", 3, pytest.approx(200 / 3), pytest.approx(200 / 3)),
        ("emu", 1, 100.0, 0.0),
    ]
    assert [g.gain for g in gains] == [100.0, 0.0, -100.0]


def test_confusion_counts_label_by_prediction() -> None:
    names = ["cat", "dog", "emu"]
    assert confusion(ROWS, names).tolist() == [[2, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert confusion(ROWS, ["cat"]).tolist() == [[2]]


def test_of_many_classes_those_with_errors_are_shown() -> None:
    right = [judged(f"class {n}", f"class {n}", "x") for n in range(40)]
    rows = [*right, judged("class 7", "class 30", "x"), judged("class 7", "new", "x")]
    assert most_confused(rows, most=3) == ["class 7", "class 30", "new"]
    assert most_confused(ROWS) == ["cat", "dog", "emu"]


def test_bins_are_those_of_the_ece() -> None:
    bins = reliability_bins(ROWS, bins=2)
    assert [(b.images, b.accuracy) for b in bins] == [(1, 0.0), (4, 0.75)]
    assert bins[1].confidence == pytest.approx((0.9 + 0.8 + 0.7 + 0.95) / 4)
    # a bound belongs to the bin below it, as in the calibration error
    edge = reliability_bins([judged("a", "a", "a", 0.5)], bins=2)
    assert [b.images for b in edge] == [1, 0]


@pytest.mark.parametrize(
    ("pick", "labels"),
    [("won", ["cat", "dog"]), ("lost", ["cat", "emu"]), ("fixed", ["cat", "dog"])],
)
def test_images_are_picked_against_zero_shot(pick: str, labels: list[str]) -> None:
    rows = [ROWS[0], ROWS[2], ROWS[3], ROWS[4]] if pick == "fixed" else ROWS
    assert [row.label for row in pick_rows(rows, pick, 2, seed=1)] == labels


def test_random_images_depend_on_the_seed_alone() -> None:
    rows = [judged(str(n), "x", "x") for n in range(50)]
    first = pick_rows(rows, "random", 5, seed=1)
    assert first == pick_rows(rows, "random", 5, seed=1) != pick_rows(rows, "random", 5, seed=2)
    assert [int(row.label) for row in first] == sorted(int(row.label) for row in first)
    assert len(pick_rows(rows, "random", 99, seed=1)) == 50


def test_projection_keeps_distances_of_a_plane() -> None:
    angles = torch.tensor([0.0, 0.3, 1.1], dtype=torch.float64)
    plane = torch.stack([angles.cos(), angles.sin(), torch.zeros(3)], dim=1)
    moved = project(plane[:2] * 5, plane[1:])
    points = torch.cat([moved.before, moved.after])
    expected = torch.cdist(torch.cat([plane[:2], plane[1:]]), torch.cat([plane[:2], plane[1:]]))
    torch.testing.assert_close(torch.cdist(points, points), expected)
    assert moved.explained == pytest.approx(1)


def test_every_figure_is_drawn_alike_twice(tmp_path: Path) -> None:
    # a name may look like mathematics, or be in another alphabet
    rows = [*ROWS, judged("$x^$", "\u732b", "cat")]
    texts = project(torch.eye(3), torch.eye(3).roll(1, 0))
    figures = {
        "confusion": lambda: draw_confusion(rows, "run"),
        "classes": lambda: draw_class_gains(rows * 20, "run"),
        "reliability": lambda: draw_reliability(rows, "run"),
        "texts": lambda: draw_movement(texts, ["a", "b", "c"], "run"),
    }
    for name, draw in figures.items():
        once = [path.read_bytes() for path in save_figure(draw(), tmp_path / name)]
        again = [path.read_bytes() for path in save_figure(draw(), tmp_path / name)]
        assert once == again
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert svg_of(draw()).startswith("<svg")


@pytest.mark.parametrize(("scenes", "texts"), [(1, 2), (1, 4), (3, 2), (4, 1)])
def test_pictures_of_attention_leave_room_for_all_texts(scenes: int, texts: int) -> None:
    names = [f"{number} american pit bull terrier" for number in range(3)]
    guesses = tuple(Guess(name, 0.333) for name in names)
    looks = {str(number): torch.full((7, 7), 1 / 49) for number in range(texts)}
    scene = Scene(Image.new("RGB", (70, 70)), names[0], looks, guesses, guesses)
    figure = draw_scenes([scene] * scenes, "attention, mean over heads")
    renderer = FigureCanvasAgg(figure).get_renderer()
    page = figure.bbox
    *pictures, bar = figure.axes
    shown = [axes.get_window_extent(renderer) for axes in pictures]
    texts_of = (text for axes in figure.axes for text in axes.texts)
    boxes = [(text, text.get_window_extent(renderer)) for text in texts_of]
    for text, box in boxes:
        assert sum(box.overlaps(other) for _, other in boxes) == 1, text.get_text()
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0
        assert not any(box.overlaps(picture) for picture in shown), text.get_text()
    for axes, picture in zip(pictures, shown, strict=True):
        assert axes.title.get_window_extent(renderer).y1 < page.y1 - 1
        assert picture.x1 < bar.get_window_extent(renderer).x0


def test_squares_of_an_overlay_are_not_smoothed() -> None:
    black = Image.new("RGB", (40, 40))
    pixels = np.asarray(overlay_image(black, torch.tensor([[0.0, 1.0], [0.5, 0.25]]), 40))
    for row in (slice(0, 20), slice(20, 40)):
        for column in (slice(0, 20), slice(20, 40)):
            assert len(np.unique(pixels[row, column].reshape(-1, 3), axis=0)) == 1
    # brighter where the weight is larger, also in grey
    grey = pixels.astype(int).sum(-1)
    assert grey[0, 30] > grey[30, 0] > grey[30, 30] > grey[0, 0]


def test_names_are_cut_to_their_room() -> None:
    assert shortened_name("cat") == "cat"
    assert len(shortened_name("c" * 100)) == 24
