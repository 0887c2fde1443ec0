"""Logits and loss of many (image, class) pairs, with one chunk of activations in memory at a time.

`chunked_logits` computes the activations again in the backward pass; `chunked_loss` differentiates
each chunk at once and need not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vtclip.layers.fast_path import forbid_create_graph
from vtclip.precision import autocast

# pairs worked on at once where no peak of memory is set: enough for products at full speed, few
# enough that the result of one product is still in the processor's cache for the next
BLOCK_PAIRS = 8192


def count_of_chunks(n_items: int, pairs_per_item: int, max_pairs: int) -> int:
    """Return into how many chunks to split items: of `max_pairs` pairs at most, or of one item."""
    return -(-n_items // max(1, max_pairs // pairs_per_item))


def chunked_logits(
    logits_of: Callable[[Sequence[Tensor], Tensor, Tensor], Tensor],
    texts: Sequence[Tensor],
    global_features: Tensor,
    spatial_features: Tensor,
    *,
    max_pairs: int,
    split_classes: bool,
) -> Tensor:
    """Return `logits_of(texts, global_features, spatial_features)`, computed in chunks.

    Args:
        logits_of: a function of a chunk of the three, to logits [images, classes].
        texts: tensors [1, K, ...] with an entry per class.
        global_features: [B, D].
        spatial_features: [B, S, C].
        max_pairs: the activations of at most so many pairs are held at once, and computed again in
            the backward pass. 0 holds them all, and works in blocks for speed alone.
        split_classes: whether the logits of a class do not depend on the other classes, so that
            classes can be split too, where one image alone has more than `max_pairs` pairs.

    Returns:
        [B, K], the same for every `max_pairs`.
    """
    n_images, n_classes = len(global_features), texts[0].shape[1]
    pairs = max_pairs or BLOCK_PAIRS
    if pairs >= n_images * n_classes:
        return logits_of(texts, global_features, spatial_features)
    columns = count_of_chunks(n_classes, 1, pairs) if split_classes else 1
    rows = count_of_chunks(n_images, -(-n_classes // columns), pairs)
    # without gradients nothing is held for a backward pass, so nothing has to be computed again
    recompute = bool(max_pairs) and torch.is_grad_enabled()
    run = partial(checkpoint, logits_of, use_reentrant=False) if recompute else logits_of
    images = zip(
        global_features.tensor_split(rows), spatial_features.tensor_split(rows), strict=True
    )
    classes = list(zip(*(tensor.tensor_split(columns, dim=1) for tensor in texts), strict=True))
    return torch.cat(
        [torch.cat([run(chunk, *image) for chunk in classes], dim=1) for image in images]
    )


def chunked_loss(
    loss_of: Callable[..., tuple[Tensor, Tensor]],
    shared: Sequence[Tensor],
    parameters: Iterable[Tensor],
    *,
    n_images: int,
    n_chunks: int,
) -> tuple[Tensor, Tensor]:
    """Return a loss that is a sum over images, ready for `backward()`.

    Each chunk of images is differentiated as soon as it is computed, and its activations are freed;
    the backward pass of the sum passes on the gradients that were collected. So the peak of memory
    is that of one chunk, and nothing is computed twice.

    Args:
        loss_of: `loss_of(rows, *shared)` returns the sum over a slice of the images, and a tensor
            to keep that has an entry per image.
        shared: tensors computed once; their graph is kept until the backward pass.
        parameters: all else that `loss_of` depends on and that may require a gradient.
        n_images: B.
        n_chunks: 1 or more.

    Returns:
        The sum, a scalar without second derivatives where `n_chunks` > 1; what was kept, [B, ...].
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if n_chunks == 1 or not trained or not torch.is_grad_enabled():
        return loss_of(slice(None), *shared)
    leaves = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in shared]
    inputs, sources = (
        [*trained, *(tensor for tensor in tensors if tensor.requires_grad)]
        for tensors in (leaves, shared)
    )
    total: Tensor | None = None
    collected: list[Tensor | None] = [None] * len(inputs)
    kept = []
    for bounds in pairwise(n_images * i // n_chunks for i in range(n_chunks + 1)):
        value, extra = loss_of(slice(*bounds), *leaves)
        total = _add(total, value.detach())
        kept.append(extra)
        # the backward pass repeats the precisions of its forward pass by itself
        with autocast(value.device, None):
            found: list[Tensor | None] = [*torch.autograd.grad(value, inputs, allow_unused=True)]
        # one by one, so that a sum takes the memory of what was added
        for number in range(len(inputs)):
            collected[number] = _add(collected[number], found[number])
            found[number] = None
    result: Tensor = _WithGradients.apply(total, collected, *sources)
    return result, torch.cat(kept)


def _add(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    # not in place: autograd may give one tensor to two inputs
    return first + second


class _WithGradients(torch.autograd.Function):
    """The identity of a scalar whose gradients were computed before."""

    @staticmethod
    def forward(
        ctx: Any, total: Tensor, gradients: Sequence[Tensor | None], *sources: Tensor
    ) -> Tensor:
        """Return the scalar; `gradients` are those of `sources`."""
        ctx.gradients = gradients
        # an input returned as it is would not belong to the graph
        return total.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients, times that of the scalar."""
        forbid_create_graph("chunked_loss", upstream)
        return (None, None, *(None if g is None else g * upstream for g in ctx.gradients))
