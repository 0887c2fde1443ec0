"""The main job as a user runs it: scripts/vtclip/main.sh on the whole of the real Caltech101."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vtclip.results import read_result

ROOT = Path(__file__).parents[2]
# a short run departs from the protocol, and its folder says how
EXPERIMENT = "tiny_16shots_FEATURES.VIEWS=1_OPTIM.MAX_EPOCH=1"


def test_main_sh_runs_through_on_the_real_caltech101(real_data: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "DATA": str(real_data),
        "PYTHON": sys.executable,
        "VTCLIP_CACHE": str(tmp_path / "cache"),
    }
    # one epoch on one view: the length of training is not what is tested
    short = ("tiny", "OPTIM.MAX_EPOCH", "1", "FEATURES.VIEWS", "1")
    script = ROOT / "scripts" / "vtclip" / "main.sh"
    command = ["bash", str(script), "caltech101", "16", *short]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    folder = tmp_path / "output" / "caltech101" / "VTCLIP" / EXPERIMENT
    results = [read_result(folder / f"seed{seed}" / "result.json") for seed in (1, 2, 3)]
    assert [r.total for r in results] == [2465] * 3
    assert [r.seed for r in results] == [1, 2, 3]
    assert len({r.list_digest["train"] for r in results}) == 3
    assert "Summary of directory" in run.stdout

    again = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert again.stdout.count("has a result already") == 3
