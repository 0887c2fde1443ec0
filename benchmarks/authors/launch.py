"""Run a program of other authors in this process: `python launch.py SPECIFICATION.json`.

Its folders come first on the module path, for their packages are named as those of this project.
"""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
from pathlib import Path
from typing import Any

from benchmarks.authors import shims


def load_trainer(path: str, width: int) -> None:
    """Register the trainer of a file, with an adapter of `width` columns."""
    specification = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    adapter = module.Adapter
    first = adapter.__init__
    adapter.__init__ = lambda x, _, reduction: first(x, width, reduction)


def run(specification: dict[str, Any]) -> None:
    """Run the program of a specification (:func:`benchmarks.authors.programs.Program.command`)."""
    sys.path[:0] = specification["folders"]
    sys.argv = [specification["program"], *specification["arguments"]]
    with shims.on_cpu():
        for name in specification["stand_ins"]:
            shims.stand_in_for(name)
        shims.crops_of(specification["image_size"])
        if specification["weights"]:
            shims.local_weights(specification["weights"])
        if specification["images"]:
            shims.imagenet_of(specification["images"], specification["classes"])
        if specification["trainer"]:
            load_trainer(specification["trainer"], specification["width"])
        runpy.run_path(specification["program"], run_name="__main__")


if __name__ == "__main__":
    # the folder of this file has modules of its own
    sys.path.remove(str(Path(__file__).resolve().parent))
    run(json.loads(Path(sys.argv[1]).read_text()))
