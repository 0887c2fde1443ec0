"""The multiplications of the matrix products in a block of PyTorch code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {
    torch.ops.aten.mm,
    torch.ops.aten.addmm,
    torch.ops.aten.bmm,
    torch.ops.aten.baddbmm,
    torch.ops.aten.mv,
}


def factors_of(func: Any, args: Sequence[Any]) -> tuple[Tensor, Tensor] | None:
    """Return the two factors of an operation that is a matrix product, None for any other."""
    if func.overloadpacket not in PRODUCTS:
        return None
    # what is added to the product comes before its two factors
    left, right = [value for value in args if isinstance(value, Tensor)][-2:]
    return left, right


class ProductCounter(TorchDispatchMode):
    """Counts the multiplications of a block, backward passes included.

    Attributes:
        multiplications: so far.

    Example:
        >>> with ProductCounter() as counter:
        ...     _ = torch.zeros(2, 3) @ torch.zeros(3, 5)
        >>> counter.multiplications
        30
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiplications = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count one operation, and do it."""
        if factors := factors_of(func, args):
            left, right = factors
            columns = right.shape[-1] if right.dim() > 1 else 1
            self.multiplications += left.numel() * columns
        return func(*args, **(kwargs or {}))
