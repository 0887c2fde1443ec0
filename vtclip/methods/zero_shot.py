"""Zero-shot CLIP (arXiv 2103.00020, section 3.1.2)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def cosine_logits(global_features: Tensor, text_features: Tensor, scale: Tensor | float) -> Tensor:
    """Compare images with texts: `s * cos(g[b], T[k])`.

    Args:
        global_features: g [B, D], any length.
        text_features: T [K, D], any length.
        scale: s, the exponentiated logit scale (about 100).

    Returns:
        Logits [B, K].
    """
    return scale * F.normalize(global_features, dim=-1) @ F.normalize(text_features, dim=-1).T


def ensemble_texts(encoded: Tensor) -> Tensor:
    """Return the text features [K, D] of the classes, normalised, from all prompts [P, K, D].

    Each prompt is normalised, and so is their mean (CLIP, section 3.1.4).
    """
    return F.normalize(F.normalize(encoded, dim=-1).mean(0), dim=-1)
