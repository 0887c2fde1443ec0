"""How a user calls a command: `python predict.py` in a checkout, else `vtclip predict`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from vtclip.checkout import PACKED, ROOT

# beside train.py in a checkout, by the name of the subcommand
SCRIPTS = {
    "train": "train.py",
    "predict": "predict.py",
    "report": "report.py",
    "export": "export.py",
    "sweep": "sweep.py",
    "tables": "parse_test_res.py",
}
MODULES = {"datasets": "datasets", "features": "vtclip.features"}


def by_console() -> bool:
    """Tell whether this process is `vtclip ...` or `python -m vtclip ...`, or has no scripts."""
    called = Path(sys.argv[0] if sys.argv else "")
    as_module = called.name == "__main__.py" and called.parent.name == "vtclip"
    return called.stem == "vtclip" or as_module or ROOT.name == PACKED


def how_to_call(name: str) -> str:
    """Return the words of a shell that call a subcommand from the working folder."""
    if by_console():
        return f"vtclip {name}"
    if name in MODULES:
        return f"python -m {MODULES[name]}"
    script = SCRIPTS[name]
    return f"python {script if Path.cwd() == ROOT else shlex.quote(str(ROOT / script))}"


def usage_name(name: str) -> str:
    """Return what a usage line calls a subcommand.

    >>> usage_name("tables"), usage_name("datasets")
    ('parse_test_res.py', 'python -m datasets')
    """
    if not by_console() and name in SCRIPTS:
        return SCRIPTS[name]
    return how_to_call(name)
