"""The page of the result, for people: one table per check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from benchmarks.check_gpu.lines import Line, all_passed
from benchmarks.check_gpu.sizes import Sizes

TITLES = {
    "equality": "Logits and gradients against the CPU's",
    "resume": "A run that is stopped and goes on",
    "methods": "Every method",
    "encoding": "Encoding",
    "epoch": "An epoch at ImageNet's size",
    "attention": "The attention against torch's own",
    "cuda": "What needs CUDA",
}


def page_of(lines: Sequence[Line], machine: dict[str, Any], device: str, sizes: Sizes) -> str:
    """Return the page as Markdown."""
    counts = {
        state: sum(line.state == state for line in lines)
        for state in ("passed", "failed", "measured", "not run")
    }
    verdict = "Passed" if all_passed(lines) else "**Failed**"
    found = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    texts = [f"# Check of {device}", f"{verdict}: {found}."]
    texts.append(", ".join(f"{key} {value}" for key, value in machine.items()) + ".")
    if sizes.small:
        texts.append("Small sizes: the figures show that each step runs, and nothing of speed.")
    for check, title in TITLES.items():
        rows = [
            (line.what, line.state, line.figure, line.limit)
            for line in lines
            if line.check == check
        ]
        if rows:
            table = tabulate(rows, ["", "", "figure", "limit"], "github", disable_numparse=True)
            texts.append(f"## {title}\n\n{table}")
    return "\n\n".join(texts) + "\n"
