"""The limits of a machine: the products of a step, and what else it passes over."""

from __future__ import annotations

import torch

from benchmarks.roofline import StepRecorder, replaying


def test_bytes_beside_the_products() -> None:
    x, narrow = torch.randn(20, 30), torch.randn(30, 5)
    with StepRecorder() as recorder:
        y = x @ narrow  # a product
        z = y + 1  # reads and writes 20 x 5 numbers
        z.T.mul_(2)  # a view, and the same again
        torch.empty(1000)
        torch.zeros(1).expand(1000).sum()  # one number is written, read and summed
    assert recorder.multiplications == 20 * 30 * 5
    # of `mul_`, what it reads and what it returns
    assert recorder.bytes == 4 * (200 + 200 + 1 + 2)


def test_products_are_repeated_as_they_were() -> None:
    weight = torch.randn(6, 4, requires_grad=True)
    with StepRecorder() as recorder:
        out = torch.addmm(torch.zeros(6), torch.randn(3, 4), weight.T)
        many = torch.bmm(torch.randn(2, 3, 5), torch.randn(1, 5, 7).expand(2, 5, 7))
        (out.sum() + many.sum()).backward()
    shapes = [(tuple(left.shape), tuple(right.shape)) for left, right in recorder.products]
    assert shapes[:2] == [((3, 4), (4, 6)), ((2, 3, 5), (2, 5, 7))]
    # columns of one matrix and the matrix that is repeated are laid out as they were
    assert recorder.products[0][1].stride() == (1, 4)
    assert recorder.products[1][1].stride() == (0, 7, 1)
    # the gradient of the weight, whose other factor needs none
    assert len(shapes) == 3
    replaying(recorder)()
