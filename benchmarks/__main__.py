"""Run the benchmarks, a process each.

python -m benchmarks            about half an hour; writes docs/performance.md
python -m benchmarks --quick    about three minutes; figures of a few repetitions, which go to
                                output/benchmarks and into no page
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import ELSEWHERE
from benchmarks.page import write_page

ROOT = Path(__file__).resolve().parents[1]
ALL = {
    "counted": (),
    "encoding": (),
    "attention": ("--repetitions", "1"),
    "end_to_end": (),
    "scaling": (),
    "threads": (),
    "shortlist": (),
    "startup": (),
    "roofline": (),
}
QUICK = {
    "counted": (),
    "startup": ("--repetitions", "2", "--images", "6400"),
    "roofline": ("--repetitions", "2"),
    "shortlist": ("--repetitions", "1"),
}


def main() -> None:
    """Run the benchmarks in order; each writes its figures."""
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument("--quick", action="store_true", help="a few of them, in three minutes")
    quick = parser.parse_args().quick
    place = {ELSEWHERE: str(ROOT / "output" / "benchmarks")} if quick else {}
    seconds = {}
    for name, arguments in (QUICK if quick else ALL).items():
        print(f"== {name}", flush=True)
        started = time.perf_counter()
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, **place})
        seconds[name] = round(time.perf_counter() - started)
    print(f"{sum(seconds.values())} s in all:", ", ".join(f"{k} {v}" for k, v in seconds.items()))
    if not quick:
        write_page()


if __name__ == "__main__":
    main()
