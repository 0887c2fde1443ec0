"""Pictures of where the text of the predicted class looks, one per predicted image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vtclip.files import atomic_path, user_path
from vtclip.prediction_formats import Row
from vtclip.predictor import Predictor
from vtclip.report.attention import draw_overlay, look_of
from vtclip.report.style import DPI


def with_overlays(predictor: Predictor, rows: Iterable[Row], folder: str) -> Iterator[Row]:
    """Yield the rows, and write a picture of each to `folder`.

    The files are numbered in the order of the images, since names from several folders may be
    equal.

    Raises:
        UserError: the method has no attention to show, or a file cannot be written.
    """
    target = user_path(folder, "--overlay")
    for number, row in enumerate(rows, start=1):
        best = row.prediction.top[0]
        look = look_of(predictor, row.path, best.classname)
        title = f"{best.classname} {best.probability:.2f}"
        figure = draw_overlay(predictor.seen(row.path), look, title)
        with atomic_path(target / f"{number:04}-{row.path.stem}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=DPI // 2)
        yield row
