"""How many runs a cluster has room for, without a cluster."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vtclip.sweep.engines import Resources
from vtclip.sweep.ray_engine import RayEngine

GB = 2**30


def cluster_of(*nodes: dict[str, float]) -> Any:
    total: dict[str, float] = {}
    for node in nodes:
        total = {name: total.get(name, 0) + node.get(name, 0) for name in {*total, *node}}
    listed = [{"Alive": True, "Resources": node} for node in nodes]
    dead = {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 99.0, "memory": 99.0 * GB}}
    return SimpleNamespace(nodes=lambda: [*listed, dead], cluster_resources=lambda: total)


@pytest.mark.parametrize(
    ("resources", "nodes", "expected"),
    [
        (Resources(cpus=2), [{"CPU": 3.0}, {"CPU": 3.0}], 2),
        # enough cores in all, but on no node
        (Resources(cpus=3), [{"CPU": 2.0}, {"CPU": 2.0}], 0),
        (Resources(gpus=0.5), [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 2.0}], 5),
        # no GPU is shared by two runs of 0.6
        (Resources(gpus=0.6), [{"CPU": 16.0, "GPU": 3.0}], 3),
        # where there are GPUs, a run has one of its own
        (Resources(), [{"CPU": 8.0}, {"CPU": 8.0, "GPU": 2.0}], 2),
        (Resources(gpus=0.0), [{"CPU": 8.0, "GPU": 2.0}], 8),
        (Resources(memory_gb=8.0), [{"CPU": 8.0, "memory": 20.0 * GB}], 2),
        (Resources(), [], 0),
    ],
)
def test_runs_have_room_on_a_node_each(
    resources: Resources, nodes: list[dict[str, float]], expected: int
) -> None:
    assert RayEngine(cluster_of(*nodes), resources, Path()).capacity() == expected


def test_no_more_than_are_asked_for() -> None:
    engine = RayEngine(cluster_of({"CPU": 8.0}), Resources(), Path(), at_most=3)
    assert engine.capacity() == 3
