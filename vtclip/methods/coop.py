"""CoOp (arXiv 2109.01134, section 3.2): prompts whose context words are learnt vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Position = Literal["end", "middle", "front"]


def token_order(n_ctx: int, name_lengths: Sequence[int], n_rest: int, position: Position) -> Tensor:
    """Return where each token of each prompt comes from.

    Tokens are counted in the order [start | M context vectors | rest], where the rest is the
    class name, what follows it, the end of text and padding.

    Args:
        n_ctx: M.
        name_lengths: number of tokens of each of the K class names.
        n_rest: R, number of tokens after the context.
        position: of the class name: after the context ("end"), between its halves ("middle", the
            first half is the shorter one), or before it ("front").

    Returns:
        [K, 1 + M + R], int64.
    """
    before = {"end": n_ctx, "middle": n_ctx // 2, "front": 0}[position]
    context = list(range(1, 1 + n_ctx))
    rest = list(range(1 + n_ctx, 1 + n_ctx + n_rest))
    return torch.tensor(
        [
            [0, *context[:before], *rest[:length], *context[before:], *rest[length:]]
            for length in name_lengths
        ]
    )


def assemble(start: Tensor, context: Tensor, rest: Tensor, order: Tensor) -> Tensor:
    """Put prompts together.

    Args:
        start: [K, 1, W], embedding of the start of text.
        context: [M, W], shared by all classes, or [K, M, W].
        rest: [K, R, W], embeddings of all that follows the context.
        order: [K, 1 + M + R], see :func:`token_order`.

    Returns:
        [K, 1 + M + R, W]
    """
    if context.dim() == 2:
        context = context.expand(len(start), -1, -1)
    tokens = torch.cat([start, context, rest], dim=1)
    classes = torch.arange(len(tokens), device=tokens.device).unsqueeze(1)
    return tokens[classes, order]


class PromptLearner(nn.Module):
    """Learns the context; the embeddings of the class names stay and are not saved with it.

    Args:
        context: initial context [M, W], or [K, M, W] for one per class.
        tokens: embeddings [K, 1 + M + R, W] of prompts with M words before the class name; what
            stands in the place of the context has no effect.
        name_lengths: number of tokens of each of the K class names.
        position: of the class name among the context.
    """

    def __init__(
        self, context: Tensor, tokens: Tensor, name_lengths: Sequence[int], position: Position
    ) -> None:
        super().__init__()
        n_ctx = context.shape[-2]
        n_rest = tokens.shape[1] - 1 - n_ctx
        self.ctx = nn.Parameter(context.clone())
        self.start: Tensor
        self.rest: Tensor
        self.order: Tensor
        order = token_order(n_ctx, name_lengths, n_rest, position)
        # a checkpoint fits other classes, whose names are those of the run that loads it
        self.register_buffer("start", tokens[:, :1].clone(), persistent=False)
        self.register_buffer("rest", tokens[:, 1 + n_ctx :].clone(), persistent=False)
        self.register_buffer("order", order, persistent=False)

    def forward(self) -> Tensor:
        """Return the prompts as embeddings [K, 1 + M + R, W]."""
        return assemble(self.start, self.ctx, self.rest, self.order)
