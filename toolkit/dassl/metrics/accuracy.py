"""Top-k accuracy."""

from collections.abc import Sequence

import torch


def compute_accuracy(
    output: torch.Tensor, target: torch.Tensor, topk: Sequence[int] = (1,)
) -> list[torch.Tensor]:
    """Return for each k the share of rows whose label is among the k highest scores.

    Args:
        output: scores [B, C], C at least the largest k.
        target: labels [B], 0 to C - 1.
        topk: the values of k.

    Returns:
        Tensors of one element, percent from 0 to 100, in the order of `topk`.
    """
    ranked = output.topk(max(topk), dim=1).indices
    hits = ranked == target.view(-1, 1)
    return [100 * hits[:, :k].any(dim=1).float().mean().view(1) for k in topk]
