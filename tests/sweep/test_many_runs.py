"""Many runs in one process leave nothing of one to the next."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ..conftest import RunTrain

FILES = Path("/proc/self/fd")


@pytest.mark.skipif(not FILES.is_dir(), reason="the system has no /proc")
def test_runs_leave_no_file_open_and_no_hook(run_train: RunTrain, tmp_path: Path) -> None:
    def run(seed: int) -> None:
        folder = str(tmp_path / f"{seed}")
        words = ("--trainer", "ZeroshotCLIP", "--seed", str(seed), "--output-dir", folder)
        assert run_train(*words, "DATASET.NUM_SHOTS", "1") == 0

    run(1)
    logs = [str(link.readlink()) for link in FILES.iterdir() if link.is_symlink()]
    hook = sys.excepthook
    run(2)
    run(3)
    after = [str(link.readlink()) for link in FILES.iterdir() if link.is_symlink()]
    assert not [name for name in after if name.endswith("log.txt")]
    assert len(after) <= len(logs)
    assert sys.excepthook is hook
