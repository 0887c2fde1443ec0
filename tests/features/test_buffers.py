"""Memory that is lent again: never while a tensor needs it; and rows that are copied into it."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor

from vtclip.features.buffers import LARGEST, SMALLEST, Buffers
from vtclip.features.source import LONG_ROW, rows_of

LARGE = (8, SMALLEST // 8)


def address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def test_memory_comes_back_when_a_tensor_ends() -> None:
    buffers = Buffers()
    first = buffers.empty(LARGE)
    place = address(first)
    del first
    assert address(buffers.empty(LARGE)) == place


def test_memory_of_a_tensor_in_use_is_not_lent() -> None:
    buffers = Buffers()
    first = buffers.empty(LARGE).fill_(1)
    second = buffers.empty(LARGE).fill_(2)
    assert first.eq(1).all()
    assert second.eq(2).all()


def test_a_view_keeps_the_memory() -> None:
    buffers = Buffers()
    view = buffers.empty(LARGE).fill_(1)[3:5].T
    gc.collect()
    buffers.empty(LARGE).fill_(2)
    assert view.eq(1).all()


def test_a_gradient_keeps_the_memory() -> None:
    buffers = Buffers()
    weight = torch.ones(LARGE, requires_grad=True)
    loss = (weight * buffers.empty(LARGE).fill_(3)).sum()
    gc.collect()
    buffers.empty(LARGE).fill_(2)
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.eq(3).all()


def test_memory_is_lent_for_what_fits_and_is_not_much_smaller() -> None:
    buffers = Buffers()
    first = buffers.empty((4 * SMALLEST,))
    place = address(first)
    del first
    assert address(buffers.empty((3, SMALLEST))) == place
    assert address(buffers.empty((5 * SMALLEST,))) != place
    # the last one is free
    last = buffers.empty((5, SMALLEST))
    place = address(last)
    del last
    assert address(buffers.empty((2 * SMALLEST,))) != place


@pytest.mark.parametrize("count", [3, LARGEST])
def test_other_sizes_are_plain_tensors(count: int) -> None:
    buffers = Buffers()
    tensor = buffers.empty((count,))
    assert tensor.shape == (count,)
    del tensor
    assert not buffers._free


@pytest.mark.parametrize("width", [3, LONG_ROW])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("order", ["in order", "at random", "backwards", "one", "none"])
def test_rows_of_several_tensors(width: int, dtype: torch.dtype, order: str) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(count, 2, width).to(dtype) for count in (5, 1, 7)]
    whole = torch.cat(tensors)
    group = torch.tensor([0] * 5 + [1] + [2] * 7)
    rows = torch.tensor([*range(5), 0, *range(7)])
    chosen = {
        "in order": torch.arange(13),
        "at random": torch.randint(13, (40,)),
        "backwards": torch.arange(12, -1, -1),
        "one": torch.tensor([6]),
        "none": torch.tensor([], dtype=torch.int64),
    }[order]
    found = rows_of(tensors, group[chosen], rows[chosen])
    assert found.dtype == torch.float32
    assert found.equal(whole[chosen].float())
