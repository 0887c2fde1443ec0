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
OPACITY = 0.65
# in inches: between pictures, above and below each, the colour bar with its labels, and their part
# at its left
GAP, TITLE, LINES, BAR, EVEN, LARGEST_CELL = 0.08, 0.22, 0.3, 0.85, 0.22, 1.5


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
    in_a_row = IN_A_ROW if len(scenes) > 1 and shown <= 2 else 1
    highest = max(float(look.max()) for scene in scenes for look in scene.looks.values())
    block = (PAGE - BAR) / in_a_row
    cell = min((block - GAP) / (1 + shown) - GAP, LARGEST_CELL)
    row_height = TITLE + cell + LINES
    height = row_height * math.ceil(len(scenes) / in_a_row)
    width = in_a_row * min(block, (1 + shown) * (cell + GAP) + GAP) + BAR
    with house_style():
        figure = new_figure(width, height, automatic=False)

        def axes_at(left: float, top: float, wide: float, tall: float) -> Axes:
            """Return axes at a place in inches, counted from the upper left."""
            place = (left / width, 1 - (top + tall) / height, wide / width, tall / height)
            return figure.add_axes(place)

        for position, scene in enumerate(scenes):
            row, place = divmod(position, in_a_row)
            left, top = GAP + place * block, row * row_height + TITLE
            axes = axes_at(left, top, cell, cell)
            axes.imshow(scene.seen)
            axes.set_title(shortened_name(scene.label, 16) if scene.label else "image")
            axes.set_axis_off()
            lines = _classes_in_lines(scene)
            axes.text(0, -0.05, lines, transform=axes.transAxes, va="top", fontsize=5.5)
            for number, (name, look) in enumerate(scene.looks.items(), start=1):
                axes = axes_at(left + number * (cell + GAP), top, cell, cell)
                drawn = _overlay(axes, scene.seen, look, highest)
                axes.set_title(f"\u201c{shortened_name(name, 16)}\u201d")
                axes.set_axis_off()
        tall = min(height - TITLE - LINES, 2.5)
        bar_axes = axes_at(width - BAR + EVEN, TITLE, 0.1, tall)
        _colour_bar(figure, bar_axes, drawn, title, next(iter(scenes[0].looks.values())))
        return figure


def draw_overlay(seen: Image.Image, look: Tensor, title: str) -> Figure:
    """Draw the attention of one text over one image.

    Args:
        seen: the square part that the backbone sees.
        look: weights [h, w].
        title: above the image.
    """
    with house_style():
        figure = new_figure(3.0, 2.6, automatic=False)
        axes = figure.add_axes((0.02, 0.04, 0.74, 0.85))
        axes.set_axis_off()
        axes.set_title(title)
        drawn = _overlay(axes, seen, look, float(look.max()))
        _colour_bar(figure, figure.add_axes((0.8, 0.15, 0.03, 0.7)), drawn, "attention", look)
        return figure


def look_of(predictor: Predictor, image: Picture, classname: str) -> Tensor:
    """Return the weights [h, w] of the text of a class over an image, the mean over heads.

    Raises:
        UserError: the image cannot be read, or the method has no such attention.
    """
    weights = predictor.attention([image])[0].mean(0)
    return weights[predictor.classnames.index(classname)]


def overlay_image(seen: Image.Image, look: Tensor, side: int) -> Image.Image:
    """Return the attention over an image as pixels, on its own scale from 0 to its largest.

    Args:
        seen: the square part that the backbone sees.
        look: weights [h, w].
        side: of the result, in pixels.
    """
    import numpy as np
    from matplotlib import colormaps
    from PIL import Image

    shares = (look / look.max().clamp(min=1e-12)).numpy()
    colours = Image.fromarray((255 * colormaps[COLOURS](shares)[..., :3]).astype(np.uint8))
    colours = colours.resize((side, side), Image.Resampling.NEAREST)
    grey = seen.convert("L").convert("RGB").resize((side, side))
    return Image.blend(grey, colours, OPACITY)


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


def _colour_bar(figure: Figure, axes: Axes, drawn: AxesImage, title: str, look: Tensor) -> None:
    """Draw the scale of the weights, with a mark where they would all be equal."""
    height, width = look.shape
    bar = figure.colorbar(drawn, cax=axes)
    bar.set_label(f"{title}; grid of {height} x {width}", fontsize=6)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    axes.axhline(1 / (height * width), color="white", linewidth=1.2)
    axes.text(-0.2, 1 / (height * width), "even", va="center", ha="right", fontsize=5)


def _overlay(axes: Axes, seen: Image.Image, look: Tensor, highest: float) -> AxesImage:
    """Draw weights over a grey image, one square of colour per location."""
    # of little contrast, so that the brightness of a square is that of its weight
    axes.imshow(seen.convert("L"), cmap="gray", vmin=-150, vmax=405)
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
        return ", ".join(f"{shortened_name(g.classname, 12)} {g.probability:.2f}" for g in guesses)

    return f"zero-shot: {line(scene.before)}\nafter: {line(scene.after)}"
