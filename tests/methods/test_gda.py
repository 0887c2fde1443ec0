"""GDA-CLIP against its formula, sample by sample in double precision, and an example by hand."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from vtclip.methods.gda import class_means, discriminant, shrunken_precision


def test_the_discriminant_is_the_formula() -> None:
    draw = torch.Generator().manual_seed(0)
    support = F.normalize(torch.randn(14, 5, generator=draw, dtype=torch.float64), dim=1)
    # unequal class sizes
    labels = torch.tensor([0, 1, 2] * 4 + [2, 2])
    weight, bias = discriminant(support, labels, 3)
    means, scatter = [], torch.zeros(5, 5, dtype=torch.float64)
    for k in range(3):
        rows = [support[i] for i in range(14) if labels[i] == k]
        means.append(sum(rows) / len(rows))
        for row in rows:
            scatter += torch.outer(row - means[k], row - means[k])
    covariance = scatter / 13
    shrunk = 13 * covariance + covariance.trace() * torch.eye(5, dtype=torch.float64)
    for k, mean in enumerate(means):
        expected = 5 * torch.linalg.solve(shrunk, mean)
        torch.testing.assert_close(weight[k], expected)
        torch.testing.assert_close(bias[k], -(mean @ expected) / 2)


def test_known_values() -> None:
    support = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 5.0]])
    # means (2, 0) and (0, 3); scatter diag(2, 8), covariance of trace 10 / 3
    weight, bias = discriminant(support, torch.tensor([0, 1, 0, 1]), 2)
    torch.testing.assert_close(weight, torch.tensor([[3 / 4, 0.0], [0.0, 9 / 17]]))
    torch.testing.assert_close(bias, torch.tensor([-3 / 4, -27 / 34]))


def test_one_image_per_class_has_no_covariance() -> None:
    support = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), dim=1)
    weight, bias = discriminant(support, torch.arange(6), 6)
    assert not weight.any() and not bias.any()
    assert not shrunken_precision(torch.zeros(1, 4)).any()


def test_a_class_without_images_has_mean_zero() -> None:
    means = class_means(torch.ones(2, 3), torch.tensor([0, 0]), 2)
    torch.testing.assert_close(means, torch.tensor([[1.0] * 3, [0.0] * 3]))
    weight, bias = discriminant(torch.eye(2), torch.tensor([0, 0]), 2)
    assert not weight[1].any() and not bias[1] and weight[0].all()
