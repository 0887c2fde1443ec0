"""Generated scenes: the same from the same seed, with a mask that is where the target was drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.scenes import CELLS, SIDE, Scene, draw_scene, write_scenes

SEEDS = range(8)


def pixels(scene: Scene) -> np.ndarray:
    return np.asarray(scene.image).astype(int)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mask_is_the_smallest_rectangle_around_what_the_target_changes(seed: int) -> None:
    scene = draw_scene(seed, (seed,))
    # black ink would be lost where rounding ends
    scene = replace(scene, grain=np.zeros_like(scene.grain), colour=np.full(3, 9, np.float32))
    without = replace(scene, ink=np.zeros_like(scene.ink))
    changed = (pixels(scene) != pixels(without)).any(-1)
    places = Image.fromarray(changed).getbbox()
    assert places == Image.fromarray(scene.mask).getbbox()
    left, top, right, bottom = places
    assert scene.mask.sum() == (right - left) * (bottom - top)


def test_a_target_covers_about_a_ninth_to_a_third() -> None:
    shares = [draw_scene(label, (seed,)).mask.mean() for label in range(10) for seed in SEEDS]
    assert min(shares) > 0.08 and max(shares) < 0.36
    assert 0.17 < np.mean(shares) < 0.27


def test_targets_are_everywhere() -> None:
    """Otherwise a map that always points at one place would hit more often than by chance."""
    cells = np.zeros((CELLS, CELLS), int)
    for seed in range(300):
        mask = draw_scene(3, (7, seed)).mask
        size = SIDE // CELLS
        covered = mask.reshape(CELLS, size, CELLS, size).mean((1, 3))
        cells[np.unravel_index(covered.argmax(), covered.shape)] += 1
    # 300 / 9 = 33.3 each, with a standard deviation of 5.4
    assert cells.min() > 33.3 - 4 * 5.4 and cells.max() < 33.3 + 4 * 5.4


def test_a_seed_fixes_a_scene() -> None:
    assert (pixels(draw_scene(4, (2, 1))) == pixels(draw_scene(4, (2, 1)))).all()
    assert (pixels(draw_scene(4, (2, 1))) != pixels(draw_scene(4, (2, 2)))).any()
    assert (pixels(draw_scene(4, (2, 1))) != pixels(draw_scene(5, (2, 1)))).any()


def test_files_are_the_scenes_and_their_masks(tmp_path: Path) -> None:
    write_scenes(tmp_path, {"train": 1, "test": 2})
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert len(found) == 2 * 10 * 3
    scene = draw_scene(7, (1, 1))
    image = Image.open(tmp_path / "images" / "test" / "seven" / "001.png")
    mask = Image.open(tmp_path / "masks" / "test" / "seven" / "001.png")
    assert (np.asarray(image) == pixels(scene)).all()
    assert (np.asarray(mask) == scene.mask).all()
    first = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    write_scenes(tmp_path, {"train": 1, "test": 2})
    assert first == {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
