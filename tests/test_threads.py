"""One thread for small work, all of them for large work, and the same figures with any number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vtclip.engine import FrozenCLIPTrainer
from vtclip.errors import run_command
from vtclip.product_counter import ProductCounter
from vtclip.threads import SMALL, ThreadsByWork, one_thread_if

from .conftest import ROOT


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def multiply(multiplications: int) -> int:
    """Multiply matrices in so many multiplications, and return the number of threads."""
    torch.zeros(1, 1000) @ torch.zeros(1000, multiplications // 1000)
    return torch.get_num_threads()


@pytest.mark.parametrize(("multiplications", "expected"), [(SMALL - 1000, 1), (SMALL, 4)])
def test_the_first_step_decides_for_those_that_follow(multiplications: int, expected: int) -> None:
    by_work = ThreadsByWork()
    found = []
    for _ in range(3):
        with by_work():
            found.append(multiply(multiplications))
    assert by_work.multiplications == multiplications
    assert found == [1, expected, expected]
    assert torch.get_num_threads() == 4


def test_the_number_comes_back_after_an_error() -> None:
    with pytest.raises(KeyError), one_thread_if(True):
        raise KeyError
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize(("is_light", "expected"), [(True, 1), (False, 4)])
def test_a_fit_that_encodes_with_a_large_backbone_has_all_threads(
    is_light: bool, expected: int
) -> None:
    of_run = SimpleNamespace(
        facts=SimpleNamespace(items={"train": [None] * 40}),
        num_classes=10,
        provider=SimpleNamespace(is_light=is_light, embed_dim=1024),
    )
    with FrozenCLIPTrainer._threads_for_shots(of_run):
        assert torch.get_num_threads() == expected


def test_products_are_counted_with_their_backward_pass() -> None:
    a, b = torch.zeros(2, 3, requires_grad=True), torch.zeros(3, 5, requires_grad=True)
    with ProductCounter() as counter:
        product = a @ b
        assert counter.multiplications == 2 * 3 * 5
        product.sum().backward()
        assert counter.multiplications == 3 * 2 * 3 * 5
        torch.nn.functional.linear(torch.zeros(7, 3), torch.zeros(4, 3), torch.zeros(4))
        torch.zeros(2, 3, 4) @ torch.zeros(2, 4, 5)
        torch.zeros(3, 4) @ torch.zeros(4)
    assert counter.multiplications == 3 * 30 + 7 * 3 * 4 + 2 * 3 * 4 * 5 + 3 * 4


@pytest.mark.parametrize(("before", "expected"), [(None, "passive"), ("active", "active")])
def test_command_lines_let_waiting_threads_sleep(
    monkeypatch: pytest.MonkeyPatch, before: str | None, expected: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if before:
        monkeypatch.setenv("OMP_WAIT_POLICY", before)
    found = []
    run_command(lambda: found.append(os.environ["OMP_WAIT_POLICY"]))
    assert found == [expected]


def test_digits_have_the_same_figures_with_any_number_of_threads(tmp_path: Path) -> None:
    results = []
    for count in ("1", "2"):
        folder = tmp_path / count
        subprocess.run(
            [
                *(sys.executable, "train.py", "--output-dir", str(folder), "--shots", "4"),
                *("OPTIM.MAX_EPOCH", "3", "OPTIM.WARMUP_EPOCH", "0", "FEATURES.CACHE", "False"),
            ],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": count},
            check=True,
            capture_output=True,
        )
        result = json.loads((folder / "result.json").read_text())
        tensors = (folder / "model.safetensors").read_bytes()
        results.append((result["accuracy"], result["nll"], result["ece"], tensors))
    assert results[0] == results[1]
