"""What a sweep shows at its end: the tables of its own runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vtclip.errors import UserError
from vtclip.results import RESULT_FILE, read_result
from vtclip.tables.benchmark_table import tables_of
from vtclip.tables.collect import Collection, Run
from vtclip.tables.layout import DEFAULT_COLUMNS
from vtclip.tables.render import render_all


def common_folder(folders: Sequence[Path]) -> Path:
    """Return the deepest folder that has all of these folders below it.

    >>> common_folder([Path("output/dtd/GDA/a/seed1"), Path("output/dtd/GDA/a/seed2")]).as_posix()
    'output/dtd/GDA/a'
    """
    return Path(os.path.commonpath([folder.parent for folder in folders]))


def tables_text(folders: Sequence[Path]) -> str:
    """Return the tables of the results in folders, or the reason why there are none."""
    try:
        runs = [Run(folder, read_result(folder / RESULT_FILE)) for folder in sorted(folders)]
        return render_all(
            tables_of(Collection(runs), ["accuracy"]), "text", "methods", DEFAULT_COLUMNS
        )
    except UserError as error:
        return f"no table: {error}"
