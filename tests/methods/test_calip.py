from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from vtclip.methods.calip import Similarities, calip_logits, similarities


def test_by_hand() -> None:
    # two locations, each like one of two orthogonal texts; the image is like the first text
    eye = torch.eye(2)
    found = similarities(torch.tensor([[3.0, 0.0]]), 4 * eye.unsqueeze(0), 2 * eye)
    # A = 2 I, so that both softmaxes give p to the like and 1 - p to the other
    p = math.exp(2) / (math.exp(2) + 1)
    assert found.plain[0].tolist() == [1.0, 0.0]
    # T_a = [[p, 1 - p], [1 - p, p]]
    assert found.to_texts[0].tolist() == pytest.approx([p, 1 - p])
    # the same matrix by location: mean (1/2, 1/2), maximum (p, p)
    assert found.of_image[0].tolist() == pytest.approx([0.5 + p, 0.5 + p])
    logits = calip_logits(found, 10.0, b2=0.5, b3=2.0)
    expected = [10 * (1 + 0.5 * p + 1 + 2 * p), 10 * (0.5 * (1 - p) + 1 + 2 * p)]
    assert logits[0].tolist() == pytest.approx(expected)


def test_an_image_at_a_time_by_the_definition() -> None:
    torch.manual_seed(0)
    g, spatial, texts = torch.randn(3, 8), torch.randn(3, 5, 8), torch.randn(4, 8)
    found = similarities(g, spatial, texts)
    T = F.normalize(texts, dim=-1)
    for b in range(3):
        image, locations = F.normalize(g[b], dim=0), F.normalize(spatial[b], dim=-1)
        A = 2 * locations @ T.T
        T_a = A.softmax(0).T @ locations
        F_a = A.softmax(1) @ T
        torch.testing.assert_close(found.plain[b], T @ image)
        torch.testing.assert_close(found.to_texts[b], T_a @ image)
        torch.testing.assert_close(found.of_image[b], T @ (F_a.mean(0) + F_a.max(0).values))


def test_without_weights_it_is_zero_shot() -> None:
    parts = Similarities(*torch.randn(3, 2, 4))
    assert calip_logits(parts, 100.0, 0.0, 0.0).equal(100.0 * parts.plain)
