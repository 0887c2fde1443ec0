"""VT-CLIP: texts of CLIP guided by what they see, for few-shot classification.

The layers, methods, backbones and features are plain PyTorch; Dassl is used by
:mod:`vtclip.engine` and the modules that prepare a run for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtclip.predictor import Predictor

__version__ = "0.1.0"


def load(
    run: str | Path, *, backbone: str = "", device: str = "", plugins: Sequence[str] = ()
) -> Predictor:
    """Load a finished run, to predict with; see :func:`vtclip.predictor.load_predictor`."""
    # PyTorch is not loaded before it is needed
    from vtclip.checkout import add_stand_in

    add_stand_in()
    from vtclip.predictor import load_predictor

    return load_predictor(run, backbone=backbone, device=device, plugins=plugins)
