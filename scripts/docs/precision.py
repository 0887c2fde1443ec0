"""Compare the head's products in fp32 and bf16 on validation images, and write docs/precision.md.

python -m scripts.docs.precision --caltech CALTECH_ROOT
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.docs.validation import compare, parse_args
from vtclip.errors import run_command
from vtclip.files import write_text

SETTINGS = {name: ("TRAINER.VTCLIP.PREC", name) for name in ("fp32", "amp")}

PAGE = """# Products in bf16

With `TRAINER.VTCLIP.PREC amp` the products of the attention are made in bf16; weights, sums, norms and the
final cosine stay in fp32. VT-CLIP on the tiny backbone, evaluated on few-shot *validation* images alone,
accuracy in percent, mean of seeds 1 to 3; columns are dataset and shots, with {images} images behind
them, so that two standard errors are {errors} points.

    python -m scripts.docs.precision --caltech CALTECH_ROOT

{table}

`auto`, which the configurations of CLIP's own backbones take, is `amp` on devices that are fast in bf16
([performance](performance.md)) and `fp32` elsewhere; set `TRAINER.VTCLIP.PREC fp32` to repeat a run on
another kind of device.
"""


def main() -> None:
    """Run the comparison and write the page."""
    found = compare(SETTINGS, parse_args(__doc__.splitlines()[0]))
    page = PAGE.format(
        table=found.table,
        images=", ".join(map(str, found.images)),
        errors=", ".join(f"{2 * e:.1f}" for e in found.errors(found.means["fp32"])),
    )
    write_text(Path("docs/precision.md"), page)
    print(page)


if __name__ == "__main__":
    sys.exit(run_command(main))
