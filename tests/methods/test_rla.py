"""RLA: its map, and what the length of features and the penalty do."""

from __future__ import annotations

import torch

from vtclip.methods.rla import LinearMap
from vtclip.methods.zero_shot import cosine_logits


def test_the_map_starts_as_the_identity_and_is_the_formula() -> None:
    draw = torch.Generator().manual_seed(0)
    g, a = torch.randn(4, 3, generator=draw), torch.randn(3, 3, generator=draw)
    adapter = LinearMap(3)
    assert adapter(g).equal(g)
    adapter.weight.data = a
    found = adapter(g).detach()
    for b in range(4):
        for d in range(3):
            expected = float(g[b, d]) + sum(float(g[b, i]) * float(a[i, d]) for i in range(3))
            assert abs(float(found[b, d]) - expected) < 1e-5


def test_known_value() -> None:
    adapter = LinearMap(2)
    adapter.weight.data = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(adapter(torch.tensor([[2.0, 1.0]])), torch.tensor([[2.0, 3.0]]))


def test_the_length_of_features_makes_no_difference() -> None:
    draw = torch.Generator().manual_seed(1)
    g, texts = torch.randn(5, 4, generator=draw), torch.randn(3, 4, generator=draw)
    adapter = LinearMap(4)
    adapter.weight.data = torch.randn(4, 4, generator=draw)
    long = cosine_logits(adapter(10 * g), texts, 20.0)
    torch.testing.assert_close(long, cosine_logits(adapter(g), texts, 20.0), atol=1e-4, rtol=0)
