"""Predictions of images as text, CSV or JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from vtclip.errors import UserError
from vtclip.files import printable
from vtclip.predictor import Prediction

FIELDS = ("path", "rank", "class", "probability", "zero_shot_class", "zero_shot_probability")


class Row(NamedTuple):
    """An image and what was predicted of it.

    Attributes:
        path: of the image, as the user named it or its folder.
        prediction: its classes.
    """

    path: Path
    prediction: Prediction


def print_text(rows: Iterable[Row], out: TextIO) -> None:
    """Print each image with its classes below it."""
    for path, prediction in rows:
        print(printable(path), file=out)
        for guess in prediction.top:
            print(f"  {guess.probability:7.2%}  {guess.classname}", file=out)
        zero_shot = prediction.zero_shot
        print(f"  zero-shot: {zero_shot.classname} ({zero_shot.probability:.2%})", file=out)


def print_csv(rows: Iterable[Row], out: TextIO) -> None:
    """Print one line per image and class, in the fields :data:`FIELDS`."""
    table = csv.writer(out, lineterminator="\n")
    table.writerow(FIELDS)
    for path, prediction in rows:
        zero_shot = prediction.zero_shot
        beside = (zero_shot.classname, f"{zero_shot.probability:.6f}")
        for rank, guess in enumerate(prediction.top, start=1):
            table.writerow(
                (printable(path), rank, guess.classname, f"{guess.probability:.6f}", *beside)
            )


def print_json(rows: Iterable[Row], out: TextIO) -> None:
    """Print a list with one object per image."""
    content = [
        {
            "path": printable(path),
            "top": [guess._asdict() for guess in prediction.top],
            "zero_shot": prediction.zero_shot._asdict(),
        }
        for path, prediction in rows
    ]
    print(json.dumps(content, indent=2, ensure_ascii=False), file=out)


PRINTERS: dict[str, Callable[[Iterable[Row], TextIO], None]] = {
    "text": print_text,
    "csv": print_csv,
    "json": print_json,
}


def read_rows(
    paths: Sequence[Path], found: Iterable[Prediction | UserError], refused: list[UserError]
) -> Iterator[Row]:
    """Yield the images that could be read; why others could not is added to `refused`."""
    for path, prediction in zip(paths, found, strict=True):
        if isinstance(prediction, UserError):
            refused.append(prediction)
        else:
            yield Row(path, prediction)
