"""Run all benchmarks, a process each, and write docs/performance.md: `python -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.page import write_page

ROOT = Path(__file__).resolve().parents[1]
ORDER = ("encoding", "attention", "end_to_end", "scaling", "threads")


def main() -> None:
    """Run the benchmarks in order; each writes its figures to benchmarks/results."""
    for name in ORDER:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, check=True)
    write_page()


if __name__ == "__main__":
    main()
