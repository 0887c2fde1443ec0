"""Memory of batches that is used again.

A tensor of many megabytes is new memory each time, and for a copy of features the system's work to
provide its pages is most of the time.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FLOAT_BYTES = 4
# what is smaller the C library keeps by itself, what is larger is read once
SMALLEST, LARGEST = 1 << 20, 1 << 28
KEPT = 3


class Buffers:
    """Lends memory, and takes it back when no tensor uses it, nor a view of it or a gradient."""

    def __init__(self) -> None:
        # tensors may end in any thread, and a deque needs no lock; the oldest are dropped
        self._free: deque[NDArray[np.float32]] = deque(maxlen=KEPT)

    def empty(self, shape: Sequence[int]) -> Tensor:
        """Return a float32 tensor of a shape on the CPU, its values undefined."""
        count = math.prod(shape)
        if not SMALLEST <= count * FLOAT_BYTES <= LARGEST:
            return torch.empty(tuple(shape))
        memory = self._taken(count)
        # the tensor's storage, which all its views share, holds this array and nothing else does
        lent = memory[:count]
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return torch.from_numpy(lent).view(tuple(shape))

    def _taken(self, count: int) -> NDArray[np.float32]:
        """Return memory for at least `count` numbers; what does not fit is let go."""
        while self._free:
            try:
                memory = self._free.pop()
            except IndexError:  # another thread took the last
                break
            if count <= memory.size <= 2 * count:
                return memory
        return np.empty(count, dtype=np.float32)


buffers = Buffers()
