"""Which test images of a run are shown, from its predictions.csv."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vtclip.errors import UserError
from vtclip.files import user_path
from vtclip.predictions import Judged, read_predictions
from vtclip.results import RESULT_FILE, read_result
from vtclip.tables.names import shots_name

Pick = Literal["random", "fixed", "lost", "won"]


def images_of_run(
    folder: Path, root: str, pick: Pick, n: int, seed: int
) -> tuple[list[Path], list[str]]:
    """Return up to `n` test images of a run and their true classes.

    Args:
        folder: of the run.
        root: the data root; empty: that of the run.
        pick, n, seed: see :func:`pick_rows`.

    Raises:
        UserError: the run has no predictions or no such images, or an image is missing.
    """
    rows = pick_rows(read_predictions(folder), pick, n, seed)
    if not rows:
        raise UserError(f"{folder}: no image is {pick} against zero-shot CLIP; try --pick fixed.")
    return _found(folder, root, rows)


def all_images_of_run(folder: Path, root: str) -> tuple[list[Path], list[str]]:
    """Return all test images of a run and their true classes; see :func:`images_of_run`.

    Raises:
        UserError: the run has no predictions, or an image is missing.
    """
    return _found(folder, root, read_predictions(folder))


def title_of_run(folder: Path) -> str:
    """Return one line that names a run: method, dataset, shots, seed, backbone.

    Raises:
        UserError: it has no result.
    """
    r = read_result(folder / RESULT_FILE)
    return f"{r.method}, {r.dataset}, {shots_name(r.shots)}, seed {r.seed}, {r.backbone}"


def _found(folder: Path, root: str, rows: Sequence[Judged]) -> tuple[list[Path], list[str]]:
    named = root or read_result(folder / RESULT_FILE).dataset_root
    data = user_path(named, "--root")
    images = [data / row.path for row in rows]
    for image in images:
        if not image.is_file():
            raise UserError(f"{image}: no such image; --root names the data root.")
    return images, [row.label for row in rows]


def pick_rows(judged: Sequence[Judged], pick: Pick, n: int, seed: int) -> list[Judged]:
    """Choose some of the images of a list, in its order.

    Args:
        judged: the list.
        pick: "fixed", evenly spaced; "random", by `seed`; "won", evenly spaced among those that
            the run classifies correctly and zero-shot CLIP does not; "lost", the other way round.
        n: how many, fewer where there are fewer.
        seed: of "random".
    """
    rows = list(judged)
    if pick == "random":
        chosen = random.Random(seed).sample(range(len(rows)), min(n, len(rows)))
        return [rows[place] for place in sorted(chosen)]
    if pick in ("won", "lost"):
        rows = [row for row in rows if row.won] if pick == "won" else [r for r in rows if r.lost]
    n = min(n, len(rows))
    return [rows[place * len(rows) // n] for place in range(n)]
