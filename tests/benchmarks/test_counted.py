"""A step of the attention needs no more multiplications and memory than what is recorded."""

from __future__ import annotations

import pytest
import torch

from benchmarks.counted import CASES, Case, MemoryCounter, count
from benchmarks.machine import RESULTS
from vtclip.files import read_json

RECORDED = read_json(RESULTS / "counted.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_more_than_recorded(case: Case) -> None:
    if torch.__version__.split("+")[0] != RECORDED["machine"]["torch"].split("+")[0]:
        pytest.skip(f"counted with PyTorch {RECORDED['machine']['torch']}")
    found, recorded = count(case), RECORDED["results"][case.name]
    assert found["multiplications"] <= recorded["multiplications"]
    assert found["peak_bytes"] <= 1.01 * recorded["peak_bytes"]


def test_views_and_what_is_written_in_place_take_no_memory() -> None:
    with MemoryCounter() as counter:
        x = torch.zeros(100)
        y = x.view(10, 10).T
        y += 1
    assert (counter.now, counter.most) == (400, 400)
    del x, y
    assert counter.now == 0


def test_a_backward_pass_is_counted() -> None:
    left, right = torch.randn(20, 30, requires_grad=True), torch.randn(30, 40, requires_grad=True)
    with MemoryCounter() as counter:
        (left @ right).sum().backward()
    assert counter.multiplications == 3 * 20 * 30 * 40
    # the product, its sum, and at least both gradients
    assert counter.most >= 4 * (20 * 40 + 1 + 20 * 30 + 30 * 40 - 20 * 40)
