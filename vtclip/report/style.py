"""How every figure looks, and how it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtclip.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# inches: one column of a two-column paper, and its whole width
COLUMN, PAGE = 3.25, 6.9
DPI = 300
# light to dark in print and in grey, and told apart by all kinds of colour vision
COLOURS = "cividis"
# Okabe and Ito's, told apart by all kinds of colour vision, black last
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p")
GAIN, LOSS = "#0072B2", "#E69F00"

_SETTINGS: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "lines.linewidth": 1.0,
    "lines.markersize": 3,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # letters stay letters, so that a PDF can be searched
    "pdf.fonttype": 42,
    # a class may be called $x$
    "text.parse_math": False,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the style of the project while the block runs."""
    import matplotlib as mpl

    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float, *, automatic: bool = True) -> Figure:
    """Return an empty figure, which needs no screen.

    Args:
        width, height: in inches.
        automatic: place its parts so that no texts overlap; False where they are placed by hand.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained" if automatic else None)


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Save a figure as PNG (300 dpi) and PDF, the same bytes for the same figure.

    Args:
        figure: what to save.
        stem: path without a suffix.

    Returns:
        The two paths.

    Raises:
        UserError: a file cannot be written.
    """
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    for path in paths:
        # without the time of day and the version of the library
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    return paths


def svg_of(figure: Figure) -> str:
    """Return a figure as an <svg> element, the same text for the same figure."""
    import io

    import matplotlib as mpl

    content = io.StringIO()
    # names of clip paths are made from the salt, and must differ between the figures of a page
    with mpl.rc_context({"svg.hashsalt": figure.get_label() or "vtclip", "svg.fonttype": "path"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    text = content.getvalue()
    return text[text.index("<svg") :]


def shortened_name(name: str, longest: int = 24) -> str:
    """Return a class name as a figure has room for it.

    >>> shortened_name("a very long name of a class", 12)
    'a very long…'
    """
    return name if len(name) <= longest else f"{name[: longest - 1]}\u2026"
