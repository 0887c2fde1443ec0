"""SS-Text against its formula, class by class."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from vtclip.methods.ss_text import class_weights, repelled


def test_each_class_is_moved_by_its_own_images():
    draw = torch.Generator().manual_seed(0)
    support, texts = (F.normalize(torch.randn(n, 4, generator=draw), dim=1) for n in (6, 3))
    # unequal sizes, and a class without images
    labels, scale = torch.tensor([0, 0, 0, 0, 1, 1]), 30.0
    found = class_weights(texts, support, labels, scale)
    four, two = support[:4].sum(0), support[4:].sum(0)
    torch.testing.assert_close(found[0], texts[0] + 30.0 / (6 * (1 / 4)) * four)
    torch.testing.assert_close(found[1], texts[1] + 30.0 / (6 * (1 / 2)) * two)
    torch.testing.assert_close(found[2], texts[2])


def test_known_values():
    texts, support = torch.eye(2), torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    # s / (N lam) is 10 / 2 for one image per class
    expected = torch.tensor([[4.0, 4.0], [0.0, 6.0]])
    torch.testing.assert_close(class_weights(texts, support, torch.arange(2), 10.0), expected)


def test_repelled_by_hand() -> None:
    weights = torch.tensor([[3.0, 0.0], [1.0, 4.0]])
    # the mean is (2, 2), so that d is (4, -2) and (0, 6)
    root = 20**0.5
    expected = torch.tensor([[3 - 4 / root, 2 / root], [1.0, 3.0]])
    torch.testing.assert_close(repelled(weights), expected)
