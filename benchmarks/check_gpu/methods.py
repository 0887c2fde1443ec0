"""Does every method run from the images to the result?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.check_gpu.lines import Line
from benchmarks.check_gpu.runs import finish, start
from benchmarks.check_gpu.sizes import Sizes
from vtclip.registrations import methods_in_source
from vtclip.results import read_result


def check_methods(device: torch.device, sizes: Sizes, folder: Path) -> Iterator[Line]:
    """Run the methods with 4 shots, those that train for a few epochs.

    Args:
        folder: for the runs.
    """
    for method in sizes.methods or methods_in_source():
        try:
            finish(start(folder / method, device, method, ("OPTIM.MAX_EPOCH", "3")))
        except RuntimeError as error:
            yield Line("methods", method, "failed", str(error))
            continue
        accuracy = read_result(folder / method / "result.json").accuracy
        figure = f"{accuracy:.2f} % on digits, at most 3 epochs"
        yield Line("methods", method, "passed", figure, "ends with a result", accuracy)
