"""The shortlist of classes, and the attention on it, against loops over the images in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vtclip.layers import VisualGuidedAttention
from vtclip.layers.shortlist import shortlist_of
from vtclip.product_counter import ProductCounter

from ..gradients import gradients

B, K, S, D, M = 5, 9, 4, 16, 3
SCALE = 20.0


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Texts, global and spatial features, labels."""
    draw = torch.Generator().manual_seed(3)
    shapes = (K, D), (B, D), (B, S, D)
    texts, images, spatial = (
        torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in shapes
    )
    return texts, images, spatial, torch.tensor([8, 0, 3, 3, 1])


def ranked(logits: Tensor, count: int, label: int | None) -> list[int]:
    """The shortlist of one image, by sorting."""
    classes = sorted(range(len(logits)), key=lambda k: (-float(logits[k]), k))[:count]
    if label is not None and label not in classes:
        classes[-1] = label
    return sorted(classes)


@pytest.mark.parametrize("count", [1, M, K])
@pytest.mark.parametrize("training", [False, True])
def test_the_shortlist_is_that_of_sorting_each_image(count: int, training: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    # a few values, so that many are equal
    logits = torch.randint(0, 5, (40, K), generator=draw).double()
    labels = torch.randint(0, K, (40,), generator=draw)
    found = shortlist_of(logits, count, labels if training else None)
    for row, label, classes in zip(logits, labels, found, strict=True):
        assert classes.tolist() == ranked(row, count, int(label) if training else None)
    assert not training or (found == labels.unsqueeze(1)).any(1).all()


def direct(
    head: VisualGuidedAttention,
    texts: Tensor,
    images: Tensor,
    spatial: Tensor,
    labels: Tensor | None,
) -> Tensor:
    """Logits by a loop: all guided texts of an image, of which those of its shortlist count."""
    unit, rows = F.normalize(texts, dim=-1), []
    for b, image in enumerate(F.normalize(images, dim=-1)):
        zero_shot = SCALE * unit @ image
        guided = F.normalize(head(texts, spatial[b : b + 1])[0], dim=-1)
        classes = ranked(zero_shot, M, None if labels is None else int(labels[b]))
        row = [
            SCALE * guided[k] @ image if k in classes else zero_shot[k] for k in range(len(texts))
        ]
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("max_pairs", [0, 2, 2 * M, 100])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("switches", [{}, {"self_attention": False, "num_layers": 2}])
def test_logits_loss_and_gradients_are_those_of_the_loop(
    max_pairs: int, fast: bool, switches: dict[str, int | bool]
) -> None:
    torch.manual_seed(1)
    head = VisualGuidedAttention(D, num_heads=4, zero_init=False, fast=fast, **switches).double()  # type: ignore[arg-type]
    texts, images, spatial, labels = inputs()
    zero_shot = SCALE * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T

    expected = direct(head, texts, images, spatial, None)
    chosen = shortlist_of(zero_shot, M)
    found = head.logits(texts, images, spatial, SCALE, max_pairs=max_pairs, shortlist=chosen)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    upstream = torch.randn(B, K, dtype=torch.float64)
    pairs = zip(
        gradients((found * upstream).sum(), head),
        gradients((expected * upstream).sum(), head),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)

    expected = direct(head, texts, images, spatial, labels)
    chosen = shortlist_of(zero_shot, M, labels)
    loss, logits = head.cross_entropy(
        texts, images, spatial, labels, SCALE, max_pairs=max_pairs, shortlist=chosen
    )
    torch.testing.assert_close(logits, expected.detach(), rtol=1e-9, atol=1e-9)
    direct_loss = F.cross_entropy(expected, labels)
    torch.testing.assert_close(loss, direct_loss, rtol=1e-9, atol=1e-9)
    for one, other in zip(gradients(loss, head), gradients(direct_loss, head), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_the_multiplications_fall_with_the_shortlist() -> None:
    head = VisualGuidedAttention(32, num_heads=4, zero_init=False)
    texts, images, spatial = torch.randn(200, 32), torch.randn(16, 32), torch.randn(16, S, 32)
    labels = torch.arange(16)
    counts = {}
    for count in (8, 200):
        chosen = shortlist_of(images @ texts.T, count, labels)
        with ProductCounter() as counter:
            head.cross_entropy(texts, images, spatial, labels, 10.0, shortlist=chosen)[0].backward()
        counts[count] = counter.multiplications
    assert counts[8] < counts[200] / 5
