"""Bit for bit the same as Dassl.pytorch, where VTCLIP_DASSL names a checkout of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dassl
import pytest

RECORDER = Path(__file__).with_name("dassl_record.py")
# Own draws: torchvision's policies, and batches that fill whatever the class sizes.
DIFFERENT = (
    "randaugment",
    "imagenet_policy",
    "cifar10_policy",
    "svhn_policy",
    "RandomClassSampler",
)


def record(root, python):
    run = subprocess.run(
        [python, RECORDER],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def records():
    checkout = os.environ.get("VTCLIP_DASSL")
    if not checkout or not Path(checkout, "dassl").is_dir():
        pytest.skip(
            f"no Dassl.pytorch at VTCLIP_DASSL={checkout!r}: a checkout; VTCLIP_DASSL_PYTHON names "
            "the Python that has its requirements"
        )
    python = os.environ.get("VTCLIP_DASSL_PYTHON", sys.executable)
    own = Path(dassl.__file__).parents[1]
    return record(own, sys.executable), record(checkout, python)


@pytest.mark.parametrize(("part", "count"), [("transforms", 84), ("schedules", 64), ("loaders", 8)])
def test_same_as_dassl(records, part, count):
    own, real = (found[part] for found in records)
    assert own.keys() == real.keys()
    compared = [
        key for key in own if key.startswith("test") or not any(name in key for name in DIFFERENT)
    ]
    assert [key for key in compared if own[key] != real[key]] == []
    assert len(compared) == count
