from __future__ import annotations

import pytest
import torch

from vtclip.methods.clip_adapter import Adapter, blend
from vtclip.methods.zero_shot import cosine_logits


@pytest.mark.parametrize(("dim", "inner"), [(8, 2), (3, 1)])
def test_width_of_the_bottleneck(dim: int, inner: int) -> None:
    shapes = {name: tuple(p.shape) for name, p in Adapter(dim, 4).named_parameters()}
    assert shapes == {"down.weight": (inner, dim), "up.weight": (dim, inner)}


def test_by_hand() -> None:
    adapter = Adapter(2, 1)
    adapter.down.weight.data = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    adapter.up.weight.data = torch.tensor([[1.0, 0.0], [1.0, -1.0]])
    g = torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    # hidden: relu(2, 2) and relu(-2, 4); out: relu(2, 0) and relu(0, -4)
    adapted = adapter(g)
    assert adapted.tolist() == [[2.0, 0.0], [0.0, 0.0]]
    assert blend(g, adapted, 0.25)[0].tolist() == [2.75, 0.75]
    assert blend(g, adapted, 0.0).equal(g)


def test_the_length_of_features_has_no_effect() -> None:
    torch.manual_seed(0)
    adapter, g, texts = Adapter(8), torch.randn(5, 8), torch.randn(3, 8)
    logits = [cosine_logits(blend(x, adapter(x), 0.2), texts, 100.0) for x in (g, 7 * g)]
    torch.testing.assert_close(*logits)
