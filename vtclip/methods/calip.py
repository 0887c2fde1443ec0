"""CALIP (arXiv 2209.14169): attention without parameters between texts and locations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# the scale of the attention weights, 2 for unit vectors
SHARPNESS = 2.0


class Similarities(NamedTuple):
    """The three parts of CALIP's logits, each [B, K], before the logit scale.

    Attributes:
        plain: g . T, zero-shot CLIP.
        to_texts: g . T_a, with texts after attention over the locations.
        of_image: F_a . T, with locations after attention over the texts.
    """

    plain: Tensor
    to_texts: Tensor
    of_image: Tensor


def similarities(
    global_features: Tensor, spatial_features: Tensor, text_features: Tensor
) -> Similarities:
    """Attend in both directions without parameters.

    All features are normalised first. With `A = 2 F T^T`, the texts become
    `T_a = softmax(A, locations)^T F`, the image becomes `softmax(A, classes) T`, of which F_a is
    the mean plus the maximum over locations.

    Args:
        global_features: g [B, D], any length.
        spatial_features: F [B, S, D] in the joint space, any length.
        text_features: T [K, D], any length.
    """
    g = F.normalize(global_features, dim=-1)
    locations = F.normalize(spatial_features, dim=-1)
    texts = F.normalize(text_features, dim=-1)
    attention = SHARPNESS * locations @ texts.T  # [B, S, K]

    # g . T_a, by the products of g with the locations: no tensor [B, K, D]
    by_location = torch.bmm(locations, g.unsqueeze(-1))  # [B, S, 1]
    to_texts = (attention.softmax(dim=1) * by_location).sum(dim=1)

    seen = attention.softmax(dim=2) @ texts  # [B, S, D]
    image = seen.mean(dim=1) + seen.amax(dim=1)
    return Similarities(g @ texts.T, to_texts, image @ texts.T)


def calip_logits(parts: Similarities, scale: float, b2: float, b3: float) -> Tensor:
    """Return `s (g.T + b2 g.T_a + b3 F_a.T)`, [B, K]."""
    return scale * (parts.plain + b2 * parts.to_texts + b3 * parts.of_image)
