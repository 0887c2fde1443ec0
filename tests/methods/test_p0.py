"""P0: its basis, its map, and its scores by another formula in double precision."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from vtclip.methods.p0 import CandidateMaps, text_basis


def test_the_basis_is_that_of_the_centred_texts() -> None:
    texts = F.normalize(
        torch.randn(4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=1
    )
    basis = text_basis(texts)
    assert basis.shape == (7, 3)
    torch.testing.assert_close(basis.T @ basis, torch.eye(3, dtype=torch.float64))
    # differences of texts lie in the span
    for k in range(1, 4):
        difference = texts[k] - texts[0]
        torch.testing.assert_close(basis @ (basis.T @ difference), difference)
    for column in basis.T:
        assert column[column.abs().argmax()] > 0


def test_dependent_texts_give_fewer_directions() -> None:
    one, other = torch.eye(4)[:2]
    assert text_basis(torch.stack([one, other, one])).shape == (4, 1)
    # the difference of both, signed at its first largest entry
    root = 0.5**0.5
    expected = torch.tensor([[root], [-root], [0.0], [0.0]])
    torch.testing.assert_close(text_basis(torch.stack([one, other])).abs(), expected.abs())
    assert text_basis(torch.stack([one, one])).shape == (4, 0)


def test_scores_are_those_of_the_compact_formula() -> None:
    """With u = g Q + g A, R = Q' T_c and q = |g - g Q Q'|^2: s u R / sqrt(|u|^2 + q)."""
    draw = torch.Generator().manual_seed(2)
    texts = F.normalize(torch.randn(5, 8, generator=draw, dtype=torch.float64), dim=1)
    g = torch.randn(6, 8, generator=draw, dtype=torch.float64)
    basis = text_basis(texts)
    maps = CandidateMaps(basis, 2)
    assert maps(g, 0).equal(g) and maps(g, 1).equal(g)
    a = torch.randn(8, 4, generator=draw, dtype=torch.float64)
    maps.weights[1].data = a
    assert maps(g, 0).equal(g)
    z = maps(g, 1)
    centred = (texts - texts.mean(0)).T
    u = g @ basis + g @ a
    rest = (g - g @ basis @ basis.T).square().sum(1, keepdim=True)
    compact = u @ (basis.T @ centred) / (u.square().sum(1, keepdim=True) + rest).sqrt()
    scores = F.normalize(z, dim=1) @ texts.T
    # they differ by a constant for all classes
    difference = scores - compact
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference))
