"""Stands in for train.py in a worker: does what its first argument says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from vtclip.errors import UserError
from vtclip.run_folder import locked


def parse_args(words: list[str]) -> SimpleNamespace:
    what, place = words
    return SimpleNamespace(what=what, place=Path(place))


def plan_of(arguments: SimpleNamespace) -> None:
    raise AssertionError("nothing is encoded here")


def run(arguments: SimpleNamespace) -> None:
    what, place = arguments.what, arguments.place
    with (place / "started.txt").open("a") as file:
        file.write(f"{what} {os.environ['OMP_NUM_THREADS']} {os.getpid()}\n")
    print("this goes nowhere")
    if what == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (place / "child.txt").write_text(str(child.pid))
        # as code does that never looks at signals
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        time.sleep(600)
    elif what == "no-memory":
        bytearray(1 << 60)
    elif what == "eat":
        eaten = []
        while len(eaten) < 40:
            # pages that are written to, 100 MB at a time
            eaten.append(b"x" * 100_000_000)
            time.sleep(0.05)
        time.sleep(600)
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "die-once":
        if not (place / "died.txt").exists():
            (place / "died.txt").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    elif what.startswith("stay"):
        while not (place / "released.txt").exists():
            time.sleep(0.05)
    elif what == "refuse":
        print("a line before", file=sys.stderr)
        raise UserError("DATASET.ROOT: nothing there.")
    elif what == "break":
        raise ZeroDivisionError("a bug")
    elif what == "wait":
        with locked(place / "folder"):
            time.sleep(0.5)
