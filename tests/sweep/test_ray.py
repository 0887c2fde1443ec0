"""The Ray engine on a cluster of a head and two nodes on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vtclip.sweep.engines import Event, Outcome, Resources, Task
from vtclip.sweep.ray_engine import RayEngine

from ..conftest import ROOT

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="the package ray is not installed")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # in seconds: a node that does not answer is given up
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    memory = {"object_store_memory": 80 * 2**20}
    made = cluster_utils.Cluster(
        initialize_head=True,
        connect=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, **memory},
    )
    made.workers = [made.add_node(num_cpus=1, **memory) for _ in range(2)]
    made.wait_for_nodes()
    yield made
    import ray

    ray.shutdown()
    made.shutdown()


def task(what: str, place: Path) -> Task:
    return Task(what, "fakes", "run", ((what, str(place)),))


def test_a_node_that_goes_takes_no_run_with_it(cluster: Any, tmp_path: Path) -> None:
    import ray

    resources = Resources(timeout=240.0, retries=2)
    engine = RayEngine(ray, resources, ROOT / "tests" / "sweep", command="fake_train")
    assert engine.capacity() == 2
    names = ("stay-1", "stay-2", "die-once", "refuse", "break", "die", "good")
    tasks = [task(name, tmp_path) for name in names]
    outcomes: dict[str, Outcome] = {}
    events: Iterator[Event] = engine.carry_out(tasks, lambda _: False)
    started = 0
    for event in events:
        if event.outcome is not None:
            outcomes[event.task.name] = event.outcome
            continue
        started += 1
        if started == 2:
            # both nodes are at work
            cluster.remove_node(cluster.workers[1], allow_graceful=False)
            (tmp_path / "released.txt").touch()
    states = {name: outcome.state for name, outcome in outcomes.items()}
    assert states == {
        "stay-1": "done",
        "stay-2": "done",
        "die-once": "done",
        "refuse": "failed",
        "break": "failed",
        "die": "died",
        "good": "done",
    }
    attempts = {name: outcome.attempts for name, outcome in outcomes.items()}
    assert attempts["stay-1"] + attempts["stay-2"] == 3
    assert (attempts["die-once"], attempts["die"], attempts["good"]) == (2, 3, 1)
    assert outcomes["refuse"].lines[-1] == "error: DATASET.ROOT: nothing there."
    assert "ZeroDivisionError: a bug" in outcomes["break"].lines[-1]
