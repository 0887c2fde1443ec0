"""CLAP against its formulas in double precision."""

from __future__ import annotations

import math

import pytest
import torch

from vtclip.methods.clap import ClassVectors, class_strengths, distance_from_texts


def test_strengths_by_hand() -> None:
    # probabilities of the right class: 3/4 and 1/4 of class 0, 1/2 of class 1
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0], [0.0, math.log(3)]])
    assert class_strengths(logits, torch.tensor([0, 1, 0])).tolist() == pytest.approx([0.5, 0.5])


def test_strengths_are_means_by_class_also_of_unequal_classes() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(7, 3, generator=draw, dtype=torch.float64)
    labels = torch.tensor([2, 0, 2, 1, 2, 2, 0])
    for k in range(3):
        own = [
            math.exp(logits[i, k]) / sum(math.exp(x) for x in logits[i])
            for i in range(7)
            if labels[i] == k
        ]
        assert float(class_strengths(logits, labels)[k]) == pytest.approx(sum(own) / len(own))


def test_distance_by_hand() -> None:
    texts = torch.tensor([[0.0, 10.0], [10.0, 0.0]])
    weight = torch.tensor([[3.0, 6.0], [10.0, 2.0]])
    # squared distances 25 and 4
    assert float(distance_from_texts(weight, texts, torch.tensor([0.2, 0.5]))) == 3.5


def test_vectors_start_at_the_texts_and_do_not_move_them() -> None:
    texts = torch.ones(2, 3)
    vectors = ClassVectors(texts)
    assert vectors().equal(texts)
    vectors.weight.data += 1
    assert texts.equal(torch.ones(2, 3))
