"""Where the texts of a run look: the weights of its own cross-attention over the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtclip.errors import unknown_name
from vtclip.report.style import COLOURS, PAGE, house_style, new_figure, shortened_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from PIL import Image
    from torch import Tensor

    from vtclip.predictor import Guess, Picture, Predictor

TOP = 3
IN_A_ROW = 2
# of a row with its three lines of text, in inches
ROW_HEIGHT = 1.75
OPACITY = 0.72


@dataclass(frozen=True, eq=False)
class Scene:
    """An image with the attention of some texts over it.

    Attributes:
        seen: the square part that the backbone sees.
        label: the true class, "" where it is not known.
        looks: by class name, the weights [h, w] of its text.
        before, after: the most probable classes of zero-shot CLIP and of the run.
    """

    seen: Image.Image
    label: str
    looks: dict[str, Tensor]
    before: tuple[Guess, ...]
    after: tuple[Guess, ...]


def scenes_of(
    predictor: Predictor,
    images: Sequence[Picture],
    labels: Sequence[str],
    classes: Sequence[str] = (),
    *,
    layer: int = -1,
    head: int | None = None,
) -> list[Scene]:
    """Return the attention over images.

    Args:
        predictor: the run.
        images: files, or images of PIL.
        labels: the true class of each, "" where it is not known.
        classes: whose texts to show; empty: the true class, and the most probable other one.
        layer: which cross-attention; -1 is the last one.
        head: one head of it; None for the mean over all.

    Raises:
        UserError: an image cannot be read, a class, layer or head is not known, or the method has
            no such attention.
    """
    for name in classes:
        if name not in predictor.classnames:
            raise unknown_name("--classes", name, predictor.classnames)
    # one at a time: the weights of all classes may be large
    return [
        _scene(predictor, image, label, classes, layer, head)
        for image, label in zip(images, labels, strict=True)
    ]


def draw_scenes(scenes: Sequence[Scene], title: str) -> Figure:
    """Draw images, the attention over them on one scale, and the classes before and after.

    Args:
        scenes: at least one, all of one grid.
        title: one line: which weights are shown.
    """
    shown = max(len(scene.looks) for scene in scenes)
    in_a_row = 1 if len(scenes) == 1 or shown > 2 else IN_A_ROW
    highest = max(float(look.max()) for scene in scenes for look in scene.looks.values())
    height, width = next(iter(scenes[0].looks.values())).shape
    rows = math.ceil(len(scenes) / in_a_row)
    with house_style():
        figure = new_figure(PAGE, ROW_HEIGHT * rows * IN_A_ROW / (in_a_row * (1 + shown) / 3) / 2)
        grid = figure.subplots(rows, in_a_row * (1 + shown), squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        drawn: AxesImage | None = None
        for position, scene in enumerate(scenes):
            row, place = divmod(position, in_a_row)
            cells = grid[row, place * (1 + shown) : (place + 1) * (1 + shown)]
            cells[0].imshow(scene.seen)
            cells[0].set_title(shortened_name(scene.label) if scene.label else "image")
            cells[0].text(
                0, -0.06, _classes_in_lines(scene), transform=cells[0].transAxes, va="top"
            )
            for axes, (name, look) in zip(cells[1:], scene.looks.items(), strict=False):
                drawn = _overlay(axes, scene.seen, look, highest)
                axes.set_title(f"text of {shortened_name(name, 18)}")
        bar = figure.colorbar(drawn, ax=grid, shrink=0.6 if rows > 1 else 0.9, pad=0.01)
        bar.set_label(f"{title}, on a grid of {height} x {width}")
        bar.solids.set_alpha(1)
        uniform = 1 / (height * width)
        bar.ax.axhline(uniform, color="white", linewidth=1)
        bar.ax.text(1.3, uniform, "even", va="center", ha="left", fontsize=5, clip_on=False)
        return figure


def draw_overlay(seen: Image.Image, look: Tensor, title: str) -> Figure:
    """Draw the attention of one text over one image.

    Args:
        seen: the square part that the backbone sees.
        look: weights [h, w].
        title: above the image.
    """
    with house_style():
        figure = new_figure(3.0, 2.7)
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_title(title)
        drawn = _overlay(axes, seen, look, float(look.max()))
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
        bar.set_label(f"attention, on a grid of {look.shape[0]} x {look.shape[1]}")
        bar.solids.set_alpha(1)
        return figure


def _scene(
    predictor: Predictor,
    image: Picture,
    label: str,
    classes: Sequence[str],
    layer: int,
    head: int | None,
) -> Scene:
    features = predictor.features([image])
    after, before = (probabilities[0] for probabilities in predictor.probabilities(features))
    weights = predictor.attention_of(features, layer)[0]
    if head is None:
        looks = weights.mean(0)
    elif head < len(weights):
        looks = weights[head]
    else:
        raise unknown_name("--head", str(head), [str(known) for known in range(len(weights))])
    names = list(classes)
    if not names:
        best = [guess.classname for guess in predictor.guesses(after, 2)]
        first = label or best[0]
        names = [first, *(name for name in best if name != first)][:2]
    return Scene(
        predictor.seen(image),
        label,
        {name: looks[predictor.classnames.index(name)] for name in names},
        predictor.guesses(before, TOP),
        predictor.guesses(after, TOP),
    )


def _overlay(axes: Axes, seen: Image.Image, look: Tensor, highest: float) -> AxesImage:
    """Draw weights over a grey image, one square of colour per location."""
    axes.imshow(seen.convert("L"), cmap="gray", vmin=0, vmax=255)
    return axes.imshow(
        look.numpy(),
        cmap=COLOURS,
        vmin=0,
        vmax=highest,
        alpha=OPACITY,
        interpolation="nearest",
        extent=(-0.5, seen.width - 0.5, seen.height - 0.5, -0.5),
    )


def _classes_in_lines(scene: Scene) -> str:
    def line(guesses: tuple[Guess, ...]) -> str:
        return ", ".join(f"{shortened_name(g.classname, 14)} {g.probability:.2f}" for g in guesses)

    return f"zero-shot: {line(scene.before)}\nafter: {line(scene.after)}"
