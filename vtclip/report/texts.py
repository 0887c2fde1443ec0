"""Where the texts of a run move, in one projection to two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vtclip.report.style import GAIN, LOSS, PAGE, house_style, new_figure, shortened_name

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from vtclip.predictor import Predictor

MOST_NAMES = 40
# images at once: the texts of each are held
BATCH = 32


class Movement(NamedTuple):
    """Points in the plane: before [K, 2] and after [K, 2]; the share of the variance it shows."""

    before: Tensor
    after: Tensor
    explained: float


def project(before: Tensor, after: Tensor) -> Movement:
    """Project texts before and after by the same principal components.

    Args:
        before, after: [K, D], of any length; compared at length 1.
    """
    both = F.normalize(torch.cat([before, after]).double(), dim=-1)
    centred = both - both.mean(0)
    _, values, components = torch.linalg.svd(centred, full_matrices=False)
    # the sign of a component is arbitrary: its largest entry is made positive
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    plane = centred @ (components * largest.sign())[:2].T
    explained = float((values[:2] ** 2).sum() / (values**2).sum().clamp(min=1e-30))
    return Movement(plane[: len(before)], plane[len(before) :], explained)


@torch.no_grad()
def mean_texts(predictor: Predictor, images: Sequence[Path], labels: Sequence[str]) -> Tensor:
    """Return what the text of each class becomes, on the mean over images of that class, [K, D].

    A class without images keeps its text.

    Args:
        predictor: the run.
        images: files.
        labels: the true class of each.

    Raises:
        UserError: an image cannot be read, or the method leaves the texts where they are.
    """
    texts = predictor.trainer.text_features.cpu()
    sums, counts = torch.zeros_like(texts), torch.zeros(len(texts))
    rows = torch.tensor([predictor.classnames.index(label) for label in labels])
    for at in range(0, len(images), BATCH):
        moved = predictor.trainer.moved_texts(predictor.features(images[at : at + BATCH]))
        own = rows[at : at + BATCH]
        vectors = F.normalize(moved.float().cpu()[torch.arange(len(own)), own], dim=-1)
        sums.index_add_(0, own, vectors)
        counts.index_add_(0, own, torch.ones(len(own)))
    return torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], texts)


def draw_movement(moved: Movement, names: Sequence[str], title: str) -> Figure:
    """Draw an arrow per class from before to after.

    Args:
        moved: of K classes.
        names: K; drawn for up to :data:`MOST_NAMES` classes.
        title: which run.
    """
    with house_style():
        figure = new_figure(PAGE * 0.75, PAGE * 0.6)
        axes = figure.subplots()
        for start, end in zip(moved.before.tolist(), moved.after.tolist(), strict=True):
            axes.annotate(
                "", end, start, arrowprops={"arrowstyle": "->", "color": "grey", "lw": 0.5}
            )
        axes.scatter(
            moved.before[:, 0], moved.before[:, 1], s=9, color=LOSS, label="before: CLIP's text"
        )
        axes.scatter(moved.after[:, 0], moved.after[:, 1], s=9, color=GAIN, label="after")
        if len(names) <= MOST_NAMES:
            away = (moved.before - moved.after).sign().tolist()
            for place, (x, y), name in zip(moved.before.tolist(), away, names, strict=True):
                # beside the arrow's tail, not over it
                axes.annotate(
                    shortened_name(name, 16),
                    place,
                    xytext=(3 * x, 3 * y),
                    textcoords="offset points",
                    ha="left" if x > 0 else "right",
                    va="bottom" if y > 0 else "top",
                    fontsize=6,
                )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"two principal components, {100 * moved.explained:.0f} % of the variance")
        axes.legend(frameon=False)
        axes.set_title(title)
        return figure
