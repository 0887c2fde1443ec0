"""Draw the picture of the README: how a text looks at the image.

python -m scripts.docs.picture
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

FROZEN, TRAINED, DATA = "#dbe7f3", "#ffd9a8", "#f4f4f4"
TARGET = Path("docs/images/method.png")

# name: (centre x, centre y, width, height, colour, text)
BOXES = {
    "names": (1.1, 3.0, 2.1, 0.8, DATA, "class names\n“a photo of a {}.”"),
    "image": (1.1, 1.0, 1.9, 0.8, DATA, "image"),
    "text": (3.6, 3.0, 1.8, 0.8, FROZEN, "text encoder\n(frozen)"),
    "visual": (3.6, 1.0, 1.8, 0.8, FROZEN, "image encoder\n(frozen)"),
    "attention": (7.0, 2.1, 2.5, 0.8, TRAINED, "visual-guided\nattention (trained)"),
    "plus": (9.2, 3.0, 0.45, 0.45, DATA, "+"),
    "cosine": (11.0, 3.0, 1.5, 0.8, DATA, "cosine · s"),
}
# from side of a box to side of a box, the label and where it stands over the arrow's middle
ARROWS = [
    ("names", "e", "text", "w", "", 0.0),
    ("image", "e", "visual", "w", "", 0.0),
    ("text", "e", "plus", "w", "text features  T [K, D]", 0.12),
    ("attention", "e", "plus", "s", "", 0.0),
    ("plus", "e", "cosine", "w", "VT", 0.12),
]


def main() -> None:
    """Write docs/images/method.png."""
    figure, axes = plt.subplots(figsize=(11, 3.4), dpi=110)
    axes.set(xlim=(0, 13.3), ylim=(0.3, 3.7))
    axes.axis("off")
    for x, y, width, height, colour, text in BOXES.values():
        corner = (x - width / 2, y - height / 2)
        style = "round,pad=0.02,rounding_size=0.12"
        axes.add_patch(
            FancyBboxPatch(corner, width, height, boxstyle=style, fc=colour, ec="#555555")
        )
        axes.text(x, y, text, ha="center", va="center", fontsize=10)
    for start, side, end, other, label, lift in ARROWS:
        a, b = _edge(start, side), _edge(end, other)
        _arrow(axes, a, b)
        axes.text((a[0] + b[0]) / 2, (a[1] + b[1]) / 2 + lift, label, ha="center", fontsize=9)
    axes.text(8.9, 2.3, "Attend(T, F)", fontsize=9)
    _arrow(axes, (7.0, 3.0), (7.0, 2.52))
    axes.text(7.1, 2.68, "queries", fontsize=9)
    _arrow(axes, (4.5, 1.15), (5.73, 2.0))
    axes.text(5.45, 1.35, "spatial features  F [B, S, D]:  keys and values", fontsize=9)
    _arrow(axes, (4.5, 0.85), (11.0, 2.6), "angle,angleA=0,angleB=90,rad=6")
    axes.text(7.6, 0.93, "global features  g [B, D]", ha="center", fontsize=9)
    _arrow(axes, _edge("cosine", "e"), (12.1, 3.0))
    axes.text(12.15, 3.0, "logits\n[B, K]", va="center", fontsize=10)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(TARGET, bbox_inches="tight", pad_inches=0.05, metadata={"Software": None})


def _edge(name: str, side: str) -> tuple[float, float]:
    x, y, width, height, *_ = BOXES[name]
    return {"e": (x + width / 2, y), "w": (x - width / 2, y), "s": (x, y - height / 2)}[side]


def _arrow(
    axes: Any, start: tuple[float, float], end: tuple[float, float], style: str = "arc3"
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=12, connectionstyle=style, color="#444444"
        )
    )


if __name__ == "__main__":
    main()
