"""Where trainers/, datasets/, configs/ and toolkit/ are, which are not in this package.

In a checkout they lie beside it. A wheel has them inside: at the top level `datasets` would
overwrite another package of that name, and both names those of a CoOp fork.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

PACKED = "_checkout"


def _root() -> Path:
    package = Path(__file__).resolve().parent
    beside = (package.parent / "trainers" / "vtclip.py").is_file()
    return package.parent if beside else package / PACKED


ROOT = _root()
CONFIGS = ROOT / "configs"


def put_first() -> None:
    """Let the project's `trainers` and `datasets` come before all others; for command lines."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    add_stand_in()


def put_last(name: str) -> None:
    """Let a module of the project be found where no other has its name; for a library call."""
    if find_spec(name) is None and str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))


def add_stand_in() -> None:
    """Let `dassl` be the stand-in in toolkit/ where none is installed."""
    if find_spec("dassl") is None:
        sys.path.append(str(ROOT / "toolkit"))
