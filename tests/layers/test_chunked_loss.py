"""Losses in chunks of images against the loss computed at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vtclip.layers.chunked_loss import chunked_loss, count_of_chunks

IMAGES = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])


@pytest.mark.parametrize(
    ("n_items", "pairs_per_item", "max_pairs", "chunks"),
    [(32, 100, 3200, 1), (32, 100, 3199, 2), (32, 100, 100, 32), (32, 100, 1, 32), (7, 1, 3, 3)],
)
def test_chunks_hold_at_most_the_pairs_asked_for(
    n_items: int, pairs_per_item: int, max_pairs: int, chunks: int
) -> None:
    assert count_of_chunks(n_items, pairs_per_item, max_pairs) == chunks


@pytest.mark.parametrize("n_chunks", [1, 2, 3, 5])
def test_the_sum_and_its_gradients_are_those_of_the_whole(n_chunks: int) -> None:
    torch.manual_seed(0)
    root = torch.randn(3, requires_grad=True)
    weight, unused = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    shared = [root.exp(), root.sin()]

    def loss_of(rows: slice, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        images = IMAGES[rows]
        return images.sum() * (x * weight).sum() + len(images) * (x * y).sum(), 2 * images

    total, kept = chunked_loss(loss_of, shared, [weight, unused], n_images=5, n_chunks=n_chunks)
    whole, _ = loss_of(slice(None), *shared)
    assert kept.equal(2 * IMAGES)
    torch.testing.assert_close(total, whole)
    wanted = torch.autograd.grad(2 * whole, (root, weight), retain_graph=True)
    for _ in range(2):  # the second time through a graph that was kept
        found = torch.autograd.grad(2 * total, (root, weight), retain_graph=True)
        for gradient, expected in zip(found, wanted, strict=True):
            torch.testing.assert_close(gradient, expected)


def test_doubles_stay_doubles() -> None:
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    total, _ = chunked_loss(
        lambda rows, x: (IMAGES[rows].sum() * (x * weight).sum() / 3, IMAGES[rows]),
        [torch.tensor([0.1, 0.2], dtype=torch.float64)],
        [weight],
        n_images=5,
        n_chunks=2,
    )
    torch.testing.assert_close(total, torch.tensor(1.5, dtype=torch.float64))


def test_nothing_is_added_to_grad_before_the_backward_pass() -> None:
    weight = torch.ones(2, requires_grad=True)
    weight.grad = torch.tensor([5.0, 6.0])
    total, _ = chunked_loss(
        lambda rows, x: (weight.sum(), IMAGES[rows]),
        [torch.zeros(1)],
        [weight],
        n_images=5,
        n_chunks=2,
    )
    assert weight.grad.tolist() == [5.0, 6.0]
    (3 * total).backward()
    assert weight.grad.tolist() == [11.0, 12.0]


def test_second_derivatives_are_refused_in_one_line() -> None:
    weight = torch.ones(2, requires_grad=True)
    total, _ = chunked_loss(
        lambda rows, x: (weight.square().sum(), IMAGES[rows]),
        [torch.zeros(1)],
        [weight],
        n_images=5,
        n_chunks=2,
    )
    with pytest.raises(RuntimeError, match=r"chunked_loss.*create_graph=True.*fast=False") as error:
        torch.autograd.grad(total, weight, create_graph=True)
    assert "\n" not in str(error.value)
