"""A folder in which sweeps run as processes, and what they leave there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vtclip.results import read_result
from vtclip.run_folder import UNFINISHED_NAME

from ..conftest import ROOT

# seconds, memory and what was imported are those of a process
OF_PROCESS = {"seconds", "peak_memory_mib", "versions", "dataset_root"}
SMALL = ("--methods", "ZeroshotCLIP,GDA", "--shots", "1", "--seeds", "1-2", "--backbone", "tiny")
VIEWS = ("FEATURES.VIEWS", "2")
DIGITS = (*SMALL, "--datasets", "digits", "--set", "FEATURES.VIEWS=2")


class Place:
    """A folder to run commands in, with the cache that all of them share."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.environment = {**os.environ, "VTCLIP_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        self.environment.pop("DATA", None)

    def start(self, script: str, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / script), *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str, *words: str) -> tuple[int, str, str]:
        process = self.start(script, *words)
        output, errors = process.communicate(timeout=600)
        return process.returncode, output, errors

    def results(self) -> dict[str, dict[str, Any]]:
        """Return what must be equal of all results, by folder, with the predictions."""
        found = {}
        for path in sorted(self.folder.glob("output/**/result.json")):
            values = asdict(read_result(path))
            kept = {name: value for name, value in values.items() if name not in OF_PROCESS}
            kept["predictions"] = (path.parent / "predictions.csv").read_text()
            found[str(path.parent.relative_to(self.folder))] = kept
        return found

    def record(self) -> dict[str, dict[str, Any]]:
        runs = json.loads((self.folder / "output" / "sweep.json").read_text())["runs"]
        return {run["folder"]: run for run in runs}

    def processes(self) -> list[int]:
        """Return the processes that work in this folder."""
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if link.resolve() == self.folder.resolve():
                    found.append(int(link.parent.name))
            except OSError:
                continue
        return found

    def wait_until_empty(self) -> None:
        """Wait until no process works in this folder.

        Raises:
            AssertionError: some are left after a minute.
        """
        deadline = time.monotonic() + 60
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert self.processes() == []

    def logs_per_run(self) -> set[int]:
        """Return how many logs the runs have; a run that is run again has two."""
        folders = [path.parent for path in self.folder.glob("output/**/result.json")]
        return {len(list(folder.glob("log.txt*"))) for folder in folders}

    def inodes(self) -> dict[str, int]:
        """Return the file of each result; one that is written again is another."""
        return {name: (self.folder / name / "result.json").stat().st_ino for name in self.results()}

    def half_files(self) -> list[Path]:
        """Return the files that were never finished."""
        return [path for path in self.folder.rglob(".*") if UNFINISHED_NAME.fullmatch(path.name)]
