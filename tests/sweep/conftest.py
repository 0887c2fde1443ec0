"""What the tests of sweeps share: an undisturbed sweep, a small disk, a cluster."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import ROOT
from .place import SMALL, Place


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Place, str, str]:
    """A sweep with a dataset that is there and one that is not."""
    place = Place(tmp_path_factory.mktemp("swept"), cache)
    datasets = ("--datasets", "digits,oxford_pets", "--set", "FEATURES.VIEWS=2")
    code, output, errors = place.run("sweep.py", *SMALL, *datasets)
    assert code == 1, errors
    return place, output, errors


class SmallDisk:
    """A disk of its own for a folder, as large as a test wants it."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        folder.mkdir()
        self.is_mounted = os.geteuid() == 0 and self._mount(f"size={size}") == 0

    def grow(self, size: str) -> None:
        assert self._mount(f"remount,size={size}") == 0

    def _mount(self, options: str) -> int:
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        return subprocess.run(words, capture_output=True, check=False).returncode


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk", "900k")
    if not disk.is_mounted:
        pytest.skip("a small disk can be mounted by root alone")
    yield disk
    subprocess.run(["umount", str(disk.folder)], check=True)


@pytest.fixture
def ray_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # in seconds: a node that does not answer is given up
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    # and so is a head
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")


def start_cluster(nodes: int = 2) -> Any:
    """Return a cluster of a head that has no cores and of nodes with one each, on this machine."""
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 80 * 2**20}
    head = {"num_cpus": 0, "include_dashboard": False, **memory}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.workers = [made.add_node(num_cpus=1, **memory) for _ in range(nodes)]
    made.wait_for_nodes()
    return made


@pytest.fixture
def cluster(ray_environment: None) -> Iterator[Any]:
    made = start_cluster()
    yield made
    made.shutdown()
