"""Multiplications of a forward and backward pass, counted as three times those of the forward."""

from __future__ import annotations

from vtclip.layers.product_order import Sizes, cheapest_order, multiplications_of_orders

HEADS = 8


def of_ours(k: int, b: int, s: int, d: int, ffn_ratio: int) -> float:
    """Count those of the visual-guided attention: what no image enters once, the rest B times."""
    sizes = Sizes(n_images=b, n_queries=k, n_keys=s, num_heads=HEADS, dim=d, memory_dim=d)
    order = multiplications_of_orders(sizes)[cheapest_order(sizes)]
    once = 5 * k * d * d + 2 * k * k * d
    return 3.0 * (once + b * (order + 2 * ffn_ratio * k * d * d))


def of_reference(k: int, b: int, s: int, d: int, ffn_ratio: int) -> float:
    """Count those of torch's decoder layer, on texts copied for every image."""
    among_texts = 4 * k * d * d + 2 * k * k * d
    to_image = 2 * k * d * d + 2 * s * d * d + 2 * k * s * d
    return 3.0 * b * (among_texts + to_image + 2 * ffn_ratio * k * d * d)
