"""Compare cached views with augmentation on the fly on validation images, and write docs/views.md.

python -m scripts.docs.views --caltech CALTECH_ROOT
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.docs.validation import COLUMNS, compare, parse_args
from vtclip.errors import run_command
from vtclip.files import write_text

VIEWS = (1, 5, 10, 20, 0)
SETTINGS = {
    f"{count} views" if count else "on the fly": ("FEATURES.VIEWS", str(count)) for count in VIEWS
}

PAGE = """# How many augmented views

CoOp's protocol augments and encodes every training image anew in every epoch. `FEATURES.VIEWS n`
encodes n augmented views of each image once and draws one of them each epoch; 0 is that protocol.
VT-CLIP on the tiny backbone, evaluated on few-shot *validation* images alone, accuracy in percent, mean
of seeds 1 to 3; columns are dataset and shots.

    python -m scripts.docs.views --caltech CALTECH_ROOT

{table}

The highest mean over all columns: **{best}**; but few validation images stand behind a column
({images}), and encoding on the fly encodes every image in every epoch. The default is **{chosen}**: the
fewest views whose mean stays within two standard errors of the best one's. By single columns it is more
than two standard errors behind the best in {behind}. More views cost disk and encoding
alike: `FEATURES.VIEWS 20` where both are cheap.
"""


def main() -> None:
    """Run the comparison and write the page."""
    columns = (*COLUMNS, ("caltech101", 4))
    found = compare(SETTINGS, parse_args(__doc__.splitlines()[0]), columns)
    chosen = found.near_best()[0]
    page = PAGE.format(
        table=found.table,
        best=found.best,
        images=", ".join(map(str, found.images)),
        chosen=chosen,
        behind=" and ".join(found.behind(chosen)) or "none",
    )
    write_text(Path("docs/views.md"), page)
    print(page)


if __name__ == "__main__":
    sys.exit(run_command(main))
